/** Flows: drafting, checking and publishing documents, and having published versions ready to run. */
import { createHash } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { contentRef } from "#domain/content.ts"
import { Finding, listed } from "#domain/finding.ts"
import {
  type Flow,
  type FlowDraftChanged,
  FlowNotFound,
  FlowNotPublished,
  type FlowText,
  flow,
  latestVersion,
  type TooManyFlowVersions
} from "#domain/flow.ts"
import { checkFlow, type References } from "#domain/flow-check.ts"
import { expressionsOf, type FlowDocument, flowDocumentBytesMax, readFlowDocument } from "#domain/flow-document.ts"
import type { FlowId, Position } from "#domain/ids.ts"
import type { Manifest } from "#domain/manifest.ts"
import type { Origin } from "#domain/recorded.ts"
import { type SpaceScope, spaceOf, type TenantScope } from "#domain/scope.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { type CompiledFlow, compileFlow } from "./compiled-flow.ts"
import { Connectors } from "./connectors.ts"
import { readDocument } from "./document-text.ts"
import { Entropy } from "./ports/entropy.ts"
import { Expressions } from "./ports/expressions.ts"
import { Payloads } from "./ports/payloads.ts"
import { type Expecting, type RevisionMismatch, Transact, type TransactError } from "./transact.ts"

export type { CompiledFlow }

const compiledMax = 2000

/** Everything that is wrong with a flow's document. */
export class FlowInvalid extends Schema.TaggedError<FlowInvalid>()("FlowInvalid", {
  flowId: Schema.NullOr(Schema.String),
  findings: Schema.Array(Finding)
}) {
  override get message() {
    return `The flow${this.flowId === null ? "" : ` "${this.flowId}"`} is not valid. Nothing was changed. ${listed(this.findings)}`
  }
}

export interface DraftedFlow {
  readonly flowId: FlowId
  readonly contentHash: string
  /** What would keep it from being published as things are. */
  readonly findings: ReadonlyArray<Finding>
  readonly revision: number
  readonly position: Position | null
}
export interface PublishedFlow {
  readonly flowId: FlowId
  readonly version: number
  readonly contentHash: string
  readonly revision: number
  readonly position: Position | null
}
export interface FlowDetails {
  readonly flowId: FlowId
  readonly text: string
  readonly contentHash: string
  /** Null: the draft. */
  readonly version: number | null
  readonly versions: number
  readonly archived: boolean
  readonly revision: number
}

/** Reads a document's text up to its shape. */
export const readFlowText = (text: string): Result.Result<FlowDocument, FlowInvalid> =>
  Result.mapError(
    Result.flatMap(readDocument(text, flowDocumentBytesMax), readFlowDocument),
    (findings) => new FlowInvalid({ flowId: null, findings })
  )

type Scoped = SpaceScope | TenantScope

export class Flows extends Context.Service<
  Flows,
  {
    /** Keeps a draft, YAML or JSON; its shape has to be right, and what else is wrong is reported. The same text again changes nothing. */
    readonly draft: (
      space: SpaceScope,
      text: string,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<DraftedFlow, FlowInvalid | RevisionMismatch | TransactError>
    /** Checks the draft completely and makes it the next version; one that is published as it is stays as it is. */
    readonly publish: (
      space: SpaceScope,
      flowId: FlowId,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<
      PublishedFlow,
      FlowNotFound | FlowInvalid | FlowDraftChanged | TooManyFlowVersions | RevisionMismatch | TransactError
    >
    /** No new runs; what runs goes on. */
    readonly archive: (
      space: SpaceScope,
      flowId: FlowId,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<{ readonly revision: number }, FlowNotFound | RevisionMismatch | TransactError>
    /** The draft's text, or a version's. */
    readonly get: (
      space: SpaceScope,
      flowId: FlowId,
      version?: number
    ) => Effect.Effect<FlowDetails, FlowNotFound | FlowNotPublished | TransactError>
    /** A version ready to run, archived or not; null: the newest of a flow that is not archived. Of the space, also for its tenants. */
    readonly published: (
      scope: Scoped,
      flowId: FlowId,
      version: number | null
    ) => Effect.Effect<CompiledFlow, FlowNotPublished | TransactError>
    /** Like `published`, but an archived flow has none: for what starts new runs. */
    readonly live: (scope: Scoped, flowId: FlowId, version: number | null) => Effect.Effect<CompiledFlow, FlowNotPublished | TransactError>
  }
>()("tributary/services/Flows") {
  static readonly layer = Layer.effect(
    Flows,
    Effect.gen(function* () {
      const { peek, read, transact } = yield* Transact
      const connectors = yield* Connectors
      const entropy = yield* Entropy
      const expressions = yield* Expressions
      const payloads = yield* Payloads
      const compiled = new BoundedCache<string, CompiledFlow>(compiledMax)

      /** Expressions and manifests that a document names, gathered so that the check itself is pure. */
      const problems = Effect.fnUntraced(function* (space: SpaceScope, document: FlowDocument, documentBytes: number) {
        const manifests = new Map<string, Manifest>()
        const named = document.steps.flatMap((step) => (step.kind === "action" ? [step.connector] : []))
        for (const connectorId of new Set([document.trigger.connector, ...named])) {
          const found = yield* Effect.catchTag(connectors.compiled(space, connectorId), "ConnectorNotFound", () => Effect.undefined)
          if (found !== undefined) manifests.set(connectorId, found.manifest)
        }
        const references = new Map<string, References>()
        for (const { text } of expressionsOf(document)) {
          const result = yield* Effect.result(expressions.compile(text))
          const { at, reason } = Result.isFailure(result) ? result.failure : { at: undefined, reason: "" }
          references.set(
            text,
            Result.isSuccess(result) ? { paths: result.success.references } : { invalid: reason, ...(at === undefined ? {} : { at }) }
          )
        }
        return checkFlow(document, {
          manifest: (connectorId) => manifests.get(connectorId),
          references: (text) => references.get(text) ?? { paths: [] },
          documentBytes
        })
      })

      const draft = Effect.fn("Flows.draft")(function* (space: SpaceScope, text: string, origin: Origin, expecting: Expecting = {}) {
        const document = yield* Effect.fromResult(readFlowText(text))
        const findings = yield* problems(space, document, Buffer.byteLength(text))
        const slot = `draft-${entropy.base32(16)}`
        const contentHash = createHash("sha256").update(text).digest("hex")
        const command = {
          _tag: "DraftFlow" as const,
          flowId: document.id,
          ...(document.name === undefined ? {} : { name: document.name }),
          document: contentRef(`flow-${document.id}`, slot),
          contentHash
        }
        const contents = [{ slot, bytes: text }]
        const { revision, position } = yield* transact(flow, space, document.id, command, { origin, contents, ...expecting }).pipe(
          // Drafting rejects nothing; the aggregate's other commands do.
          Effect.catchTag(["FlowNotFound", "FlowDraftChanged", "TooManyFlowVersions"], Effect.die)
        )
        return { flowId: document.id, contentHash, findings, revision, position }
      })

      /** A stored document was checked before; one that cannot be opened any more is a defect. */
      const textOf = (space: SpaceScope, { document }: FlowText) =>
        Effect.map(Effect.catchTag(payloads.open(space, [document]), "ContentGone", Effect.die), ([bytes]) =>
          Buffer.from(bytes!).toString("utf8")
        )

      const publish = Effect.fn("Flows.publish")(function* (space: SpaceScope, flowId: FlowId, origin: Origin, expecting: Expecting = {}) {
        const { state } = yield* read(flow, space, flowId)
        if (state.draft === null) return yield* new FlowNotFound({ flowId })
        const text = yield* textOf(space, state.draft)
        const document = yield* Effect.fromResult(readFlowText(text))
        const findings = yield* problems(space, document, Buffer.byteLength(text))
        if (findings.length > 0) return yield* new FlowInvalid({ flowId, findings })
        const { contentHash } = state.draft
        const trigger = { connectorId: document.trigger.connector, event: document.trigger.event }
        const command = { _tag: "PublishFlow" as const, flowId, contentHash, trigger, steps: document.steps.length }
        const { revision, position, ...done } = yield* transact(flow, space, flowId, command, { origin, ...expecting })
        return { flowId, version: done.state.versions.length, contentHash, revision, position }
      })

      const archive = Effect.fn("Flows.archive")(function* (space: SpaceScope, flowId: FlowId, origin: Origin, expecting: Expecting = {}) {
        const { revision } = yield* transact(flow, space, flowId, { _tag: "ArchiveFlow", flowId }, { origin, ...expecting }).pipe(
          Effect.catchTag(["FlowDraftChanged", "TooManyFlowVersions"], Effect.die)
        )
        return { revision }
      })

      const get = Effect.fn("Flows.get")(function* (space: SpaceScope, flowId: FlowId, version?: number) {
        const { state, revision } = yield* read(flow, space, flowId)
        if (state.draft === null) return yield* new FlowNotFound({ flowId })
        const found = version === undefined ? state.draft : state.versions[version - 1]
        if (found === undefined) return yield* new FlowNotPublished({ flowId, version: version ?? null })
        const text = yield* textOf(space, found)
        return {
          flowId,
          text,
          contentHash: found.contentHash,
          version: version ?? null,
          versions: state.versions.length,
          archived: state.archived,
          revision
        }
      })

      const ready = Effect.fnUntraced(function* (space: SpaceScope, flowId: FlowId, state: Flow, version: number | null) {
        const number = version ?? latestVersion(state)
        const found = number === undefined ? undefined : state.versions[number - 1]
        if (number === undefined || found === undefined) return yield* new FlowNotPublished({ flowId, version })
        const key = `${space.key}/${flowId}/${number}`
        const known = compiled.get(key)
        if (known !== undefined) return known
        const document = yield* Effect.orDie(Effect.fromResult(readFlowText(yield* textOf(space, found))))
        const flowReady = yield* Effect.orDie(compileFlow(document, number, expressions))
        compiled.set(key, flowReady)
        return flowReady
      })

      const stateOf = (space: SpaceScope, flowId: FlowId): Effect.Effect<Flow, TransactError> => {
        const known = peek(flow, space, flowId)
        return known === undefined ? Effect.map(read(flow, space, flowId), ({ state }) => state) : Effect.succeed(known)
      }

      const published = (scope: Scoped, flowId: FlowId, version: number | null) => {
        const space = spaceOf(scope)
        return Effect.flatMap(stateOf(space, flowId), (state) => ready(space, flowId, state, version))
      }

      const live = (scope: Scoped, flowId: FlowId, version: number | null) => {
        const space = spaceOf(scope)
        return Effect.flatMap(stateOf(space, flowId), (state) =>
          state.archived ? Effect.fail(new FlowNotPublished({ flowId, version })) : ready(space, flowId, state, version)
        )
      }

      return Flows.of({ draft, publish, archive, get, published, live })
    })
  )
}
