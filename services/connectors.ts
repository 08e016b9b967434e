/** Connectors: publishing manifests, and having them compiled when they are needed. */
import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Connector, ConnectorNotFound, connector } from "#domain/connector.ts"
import { contentRef } from "#domain/content.ts"
import { Finding, listed } from "#domain/finding.ts"
import { ConnectorId, type Position } from "#domain/ids.ts"
import { type Manifest, readManifest, readStoredManifest } from "#domain/manifest.ts"
import type { Origin } from "#domain/recorded.ts"
import { type SpaceScope, spaceOf, type TenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { type CompiledConnector, compileConnector } from "./compiled-connector.ts"
import { patternFindings } from "./credentials.ts"
import { readDocument } from "./document-text.ts"
import { Entropy } from "./ports/entropy.ts"
import { Payloads } from "./ports/payloads.ts"
import { Transact, type TransactError } from "./transact.ts"

export const manifestBytesMax = 512 * 1024
const compiledMax = 500

/** Everything that is wrong with a manifest. */
export class ManifestInvalid extends Schema.TaggedError<ManifestInvalid>()("ManifestInvalid", { findings: Schema.Array(Finding) }) {
  override get message() {
    return `The manifest cannot be published. Nothing was changed. ${listed(this.findings)}`
  }
}

export interface PublishedConnector {
  readonly connectorId: ConnectorId
  readonly version: number
  readonly contentHash: string
  readonly position: Position | null
}

/** Reads a manifest's text and checks all of it. */
export const readManifestText = (text: string): Result.Result<Manifest, ManifestInvalid> =>
  Result.mapError(
    Result.flatMap(Result.flatMap(readDocument(text, manifestBytesMax), readManifest), (manifest) => {
      const patterns = patternFindings(manifest)
      return patterns.length === 0 ? Result.succeed(manifest) : Result.fail(patterns)
    }),
    (findings) => new ManifestInvalid({ findings })
  )

/** A stored manifest was checked before. */
const openManifestText = (text: string): Result.Result<Manifest, ManifestInvalid> =>
  Result.mapError(Result.flatMap(readDocument(text, manifestBytesMax), readStoredManifest), (findings) => new ManifestInvalid({ findings }))

const isConnectorId = Schema.is(ConnectorId)

export class Connectors extends Context.Service<
  Connectors,
  {
    /** Publishes a manifest, YAML or JSON, as the space's own; the same text again changes nothing. */
    readonly publish: (
      space: SpaceScope,
      text: string,
      origin: Origin
    ) => Effect.Effect<PublishedConnector, ManifestInvalid | TransactError>
    /** The space's own connector, else the built-in one of that name; compiled once per version. */
    readonly compiled: (
      scope: SpaceScope | TenantScope,
      connectorId: string
    ) => Effect.Effect<CompiledConnector, ConnectorNotFound | TransactError>
    /** The catalogue that comes with this release. */
    readonly builtIn: ReadonlyArray<CompiledConnector>
  }
>()("tributary/services/Connectors") {
  /** `texts`: the built-in manifests. One that is wrong stops the start. */
  static readonly layerWith = (texts: ReadonlyArray<string>) =>
    Layer.effect(
      Connectors,
      Effect.suspend(() => make(texts))
    )
}

const make = (texts: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { peek, read, transact } = yield* Transact
    const entropy = yield* Entropy
    const payloads = yield* Payloads
    const cache = new BoundedCache<string, CompiledConnector>(compiledMax)
    const builtIn = new Map<string, CompiledConnector>()
    for (const text of texts) {
      const manifest = yield* Effect.orDie(Effect.fromResult(readManifestText(text)))
      builtIn.set(manifest.id, compileConnector(manifest, 0))
    }

    const publish = Effect.fn("Connectors.publish")(function* (space: SpaceScope, text: string, origin: Origin) {
      const manifest = yield* Effect.fromResult(readManifestText(text))
      const slot = `manifest-${entropy.base32(16)}`
      const contentHash = createHash("sha256").update(text).digest("hex")
      const command = {
        _tag: "PublishConnector" as const,
        connectorId: manifest.id,
        name: manifest.name,
        manifest: contentRef(`connector-${manifest.id}`, slot),
        contentHash
      }
      const { state, position } = yield* transact(connector, space, manifest.id, command, { origin, contents: [{ slot, bytes: text }] })
      return { connectorId: manifest.id, version: state!.version, contentHash, position }
    })

    /** One that cannot be opened or read any more is a defect. */
    const open = Effect.fnUntraced(function* (space: SpaceScope, connectorId: ConnectorId, state: NonNullable<Connector>) {
      const key = `${space.key}/${connectorId}/${state.version}`
      const known = cache.get(key)
      if (known !== undefined) return known
      const [bytes] = yield* Effect.catchTag(payloads.open(space, [state.manifest]), "ContentGone", Effect.die)
      const manifest = yield* Effect.orDie(Effect.fromResult(openManifestText(Buffer.from(bytes!).toString("utf8"))))
      const ready = compileConnector(manifest, state.version)
      cache.set(key, ready)
      return ready
    })

    const compiled = Effect.fnUntraced(function* (scope: SpaceScope | TenantScope, connectorId: string) {
      if (!isConnectorId(connectorId)) return yield* new ConnectorNotFound({ connectorId: connectorId.slice(0, 100) })
      const space = spaceOf(scope)
      const state = peek(connector, space, connectorId) ?? (yield* read(connector, space, connectorId)).state
      if (state !== null) return yield* open(space, connectorId, state)
      return builtIn.get(connectorId) ?? (yield* new ConnectorNotFound({ connectorId }))
    })

    return Connectors.of({ publish, compiled, builtIn: [...builtIn.values()] })
  })
