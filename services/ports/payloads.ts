/** Sealed content, written by `Journal.append` and opened here. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { ContentRef } from "#domain/content.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import type { JournalUnavailable } from "./unavailable.ts"

export class ContentGone extends Data.TaggedError("ContentGone")<{
  readonly ref: ContentRef
  readonly why: "retired" | "absent" | "damaged"
}> {
  override get message() {
    return `The content ${this.ref} cannot be opened (${this.why}).`
  }
}

export class Payloads extends Context.Service<
  Payloads,
  {
    /** Opens content in the order asked. The seal binds scope, owner, slot and key version: anything moved or changed is `damaged`. */
    readonly open: (
      scope: SpaceScope | TenantScope,
      refs: ReadonlyArray<ContentRef>
    ) => Effect.Effect<ReadonlyArray<Uint8Array>, ContentGone | JournalUnavailable>
  }
>()("tributary/ports/Payloads") {}
