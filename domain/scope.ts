/** Whose facts they are: every access takes a scope, and every stream name begins with one. */
import * as Schema from "effect/Schema"
import { SpaceKey, TenantKey } from "./ids.ts"

/** The installation itself: its spaces and platform-level settings. */
export interface PlatformScope {
  readonly level: "platform"
  readonly space: "platform"
  readonly key: "platform"
}
/** The space's own facts: connectors, flows, fixed connections, API keys. */
export interface SpaceScope {
  readonly level: "space"
  readonly space: SpaceKey
  /** The reserved key of the space's own facts: its space key. */
  readonly key: SpaceKey
}
/** One customer of the space. */
export interface TenantScope {
  readonly level: "tenant"
  readonly space: SpaceKey
  readonly key: TenantKey
}
export type Scope = PlatformScope | SpaceScope | TenantScope
export type ScopeKey = Scope["key"]

export const platformScope: PlatformScope = { level: "platform", space: "platform", key: "platform" }
export const spaceScope = (space: SpaceKey): SpaceScope => ({ level: "space", space, key: space })
export const tenantScope = (space: SpaceKey, key: TenantKey): TenantScope => ({ level: "tenant", space, key })
export const spaceOf = (scope: SpaceScope | TenantScope): SpaceScope => spaceScope(scope.space)

const isTenantKey = Schema.is(TenantKey)
const isSpaceKey = Schema.is(SpaceKey)

/** The scope of a stored stream, from its space and its own key. Throws on keys that no release ever wrote. */
export const scopeOf = (space: string, key: string): Scope => {
  if (key === "platform") return platformScope
  if (!isSpaceKey(space)) throw new Error(`"${space}" is not a space key.`)
  if (key === space) return spaceScope(space)
  if (isTenantKey(key)) return tenantScope(space, key)
  throw new Error(`"${key}" is not a tenant key.`)
}

/** A stream's full name: `<bucket>/<scope key>/<kind>-<id>`. */
export type StreamName = typeof StreamName.Type
export const StreamName = Schema.String.pipe(Schema.brand("StreamName"))

/** The last segment of a stream name; unique within its scope. */
export type LocalName = `${string}-${string}`

/**
 * The bucket of a scope key: FNV-1a (32 bit) over its characters, folded to 8 bits by exclusive or, two hex digits. Pinned for
 * ever: stream names contain it. Source: Fowler, Noll, Vo, "FNV hash", xor-folding.
 */
export const bucketOf = (key: ScopeKey): string => {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193)
  const folded = (hash ^ (hash >>> 8) ^ (hash >>> 16) ^ (hash >>> 24)) & 0xff
  return folded.toString(16).padStart(2, "0")
}

export const streamName = (scope: Scope, local: LocalName): StreamName => `${bucketOf(scope.key)}/${scope.key}/${local}` as StreamName

/** `t…` of `3f/t…/run-abc`. */
export const scopeKeyOf = (stream: StreamName): ScopeKey => stream.slice(3, stream.indexOf("/", 3)) as ScopeKey

/** `run-abc` of `3f/t…/run-abc`. */
export const localNameOf = (stream: StreamName): LocalName => stream.slice(stream.lastIndexOf("/") + 1) as LocalName

/** `run` and `abc` of `3f/t…/run-abc`. */
export const kindAndIdOf = (stream: StreamName): { readonly kind: string; readonly id: string } => {
  const local = localNameOf(stream)
  const dash = local.indexOf("-")
  return { kind: local.slice(0, dash), id: local.slice(dash + 1) }
}
