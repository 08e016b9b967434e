/** A flow of the space: a draft that changes, and published versions that never do. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ContentRef } from "./content.ts"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectorId, FlowId } from "./ids.ts"

/** Versions of one flow; bounds the state. */
export const flowVersionsMax = 1000

export interface FlowText {
  readonly document: ContentRef
  /** SHA-256 of the document's text, hex. */
  readonly contentHash: string
}
export interface Flow {
  readonly draft: FlowText | null
  /** Version n is at place n - 1. */
  readonly versions: ReadonlyArray<FlowText>
  readonly archived: boolean
}

const FlowTrigger = Schema.Struct({ connectorId: ConnectorId, event: Schema.String })

export type FlowCommand = typeof FlowCommand.Type
export const FlowCommand = Schema.TaggedUnion({
  DraftFlow: { flowId: FlowId, name: Schema.optionalKey(Schema.String), document: ContentRef, contentHash: Schema.String },
  /** `contentHash`: of the draft that was checked. */
  PublishFlow: { flowId: FlowId, contentHash: Schema.String, trigger: FlowTrigger, steps: Schema.Int },
  ArchiveFlow: { flowId: FlowId }
})
export type FlowEvent = typeof FlowEvent.Type
export const FlowEvent = Schema.TaggedUnion({
  FlowDrafted: { flowId: FlowId, name: Schema.optionalKey(Schema.String), document: ContentRef, contentHash: Schema.String },
  FlowPublished: {
    flowId: FlowId,
    version: Schema.Int,
    document: ContentRef,
    contentHash: Schema.String,
    trigger: FlowTrigger,
    steps: Schema.Int
  },
  FlowArchived: { flowId: FlowId }
})
const { FlowDrafted, FlowPublished, FlowArchived } = FlowEvent.cases

export class FlowNotFound extends Schema.TaggedError<FlowNotFound>()("FlowNotFound", { flowId: FlowId }) {
  override get message() {
    return `There is no flow "${this.flowId}". Nothing was changed. Check the name, or draft it first.`
  }
}
/** The draft is another than the one that was checked. */
export class FlowDraftChanged extends Schema.TaggedError<FlowDraftChanged>()("FlowDraftChanged", { flowId: FlowId }) {
  override get message() {
    return `The draft of the flow "${this.flowId}" was changed by somebody else while it was checked. Nothing was published. Publish again.`
  }
}
export class FlowNotPublished extends Schema.TaggedError<FlowNotPublished>()("FlowNotPublished", {
  flowId: FlowId,
  version: Schema.NullOr(Schema.Int)
}) {
  override get message() {
    const what = this.version === null ? "has no published version, or was archived" : `has no version ${this.version}`
    return `The flow "${this.flowId}" ${what}. Nothing was changed. Publish it first, or choose a version that exists.`
  }
}
export class TooManyFlowVersions extends Schema.TaggedError<TooManyFlowVersions>()("TooManyFlowVersions", {
  flowId: FlowId,
  limit: Schema.Int
}) {
  override get message() {
    return `The flow "${this.flowId}" has ${this.limit} versions, which is the most. Nothing was published. Go on under a new flow id.`
  }
}
export type FlowRejection = FlowNotFound | FlowDraftChanged | TooManyFlowVersions

/** The version that new runs take; undefined: none, or archived. */
export const latestVersion = ({ versions, archived }: Flow): number | undefined =>
  archived || versions.length === 0 ? undefined : versions.length

const publish = (
  state: Flow,
  command: typeof FlowCommand.cases.PublishFlow.Type
): Result.Result<ReadonlyArray<FlowEvent>, FlowRejection> => {
  const { flowId, contentHash, trigger, steps } = command
  if (state.draft === null) return Result.fail(new FlowNotFound({ flowId }))
  if (state.draft.contentHash !== contentHash) return Result.fail(new FlowDraftChanged({ flowId }))
  if (!state.archived && state.versions.at(-1)?.contentHash === contentHash) return Result.succeed([])
  if (state.versions.length >= flowVersionsMax) return Result.fail(new TooManyFlowVersions({ flowId, limit: flowVersionsMax }))
  return Result.succeed([FlowPublished.make({ flowId, version: state.versions.length + 1, ...state.draft, trigger, steps })])
}

export const flow: Aggregate<Flow, FlowCommand, FlowEvent, FlowRejection> = {
  kind: "flow",
  version: 1,
  events: eventFamily(FlowEvent),
  initialState: { draft: null, versions: [], archived: false },
  decide: (command, state) =>
    FlowCommand.match(command, {
      DraftFlow: ({ _tag: _, ...drafted }) =>
        Result.succeed(state.draft?.contentHash === drafted.contentHash ? [] : [FlowDrafted.make(drafted)]),
      PublishFlow: (command) => publish(state, command),
      ArchiveFlow: ({ flowId }) => {
        if (state.draft === null) return Result.fail(new FlowNotFound({ flowId }))
        return Result.succeed(state.archived ? [] : [FlowArchived.make({ flowId })])
      }
    }),
  evolve: (state, event) =>
    FlowEvent.match(event, {
      FlowDrafted: ({ document, contentHash }): Flow => ({ ...state, draft: { document, contentHash } }),
      // Publishing an archived flow brings it back.
      FlowPublished: ({ document, contentHash }): Flow => ({
        ...state,
        versions: [...state.versions, { document, contentHash }],
        archived: false
      }),
      FlowArchived: (): Flow => ({ ...state, archived: true })
    })
}
