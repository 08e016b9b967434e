/** Content: bodies, inputs, outputs and error details, kept sealed beside the events that refer to them. */
import * as Schema from "effect/Schema"
import type { LocalName } from "./scope.ts"

/**
 * Where a piece of content lies within its tenant: `<kind>-<id>#<slot>`. The slot names it within the stream that owns it;
 * the event's row holds the keyed hash of what is there.
 */
export type ContentRef = typeof ContentRef.Type
export const ContentRef = Schema.String.check(Schema.isPattern(/^[a-z]+-[^#/]+#[A-Za-z0-9_.-]{1,120}$/u)).pipe(Schema.brand("ContentRef"))

export const contentRef = (owner: LocalName, slot: string): ContentRef => `${owner}#${slot}` as ContentRef
export const ownerOf = (ref: ContentRef): LocalName => ref.slice(0, ref.lastIndexOf("#")) as LocalName
export const slotOf = (ref: ContentRef): string => ref.slice(ref.lastIndexOf("#") + 1)
