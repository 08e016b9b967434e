/** Enablement: which flows of the space a tenant has on, in which version, and with which of its connections. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectionId, FlowId } from "./ids.ts"

/** Flows that a tenant may have on; bounds the state. */
export const enabledFlowsMax = 1000

/** The name that a flow's steps give to a connection; the connector's id unless they say otherwise. */
export const BindingName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9][a-zA-Z0-9_-]{0,63}$/u, {
    expected: "a letter or digit, then letters, digits, dashes and underscores, at most 64"
  })
)
export type Bindings = typeof Bindings.Type
export const Bindings = Schema.Record(BindingName, ConnectionId)

export interface EnabledFlow {
  /** Null: the newest published one. */
  readonly version: number | null
  readonly bindings: Bindings
}
export interface Enablement {
  readonly flows: Readonly<Record<FlowId, EnabledFlow>>
}

export type EnablementCommand = typeof EnablementCommand.Type
export const EnablementCommand = Schema.TaggedUnion({
  EnableFlow: { flowId: FlowId, version: Schema.NullOr(Schema.Int), bindings: Bindings },
  DisableFlow: { flowId: FlowId }
})
export type EnablementEvent = typeof EnablementEvent.Type
export const EnablementEvent = Schema.TaggedUnion({
  FlowEnabled: { flowId: FlowId, version: Schema.NullOr(Schema.Int), bindings: Bindings },
  FlowDisabled: { flowId: FlowId }
})
const { FlowEnabled, FlowDisabled } = EnablementEvent.cases

export class TooManyFlowsEnabled extends Schema.TaggedError<TooManyFlowsEnabled>()("TooManyFlowsEnabled", { limit: Schema.Int }) {
  override get message() {
    return `This tenant has ${this.limit} flows on, which is the most. Nothing was changed. Disable one that is not needed.`
  }
}

/** What a tenant has on of a flow; undefined: it is off. */
export const enabledFlow = ({ flows }: Enablement, flowId: FlowId): EnabledFlow | undefined =>
  Object.hasOwn(flows, flowId) ? flows[flowId] : undefined

const sameBindings = (left: Bindings, right: Bindings): boolean => {
  const names = Object.keys(left)
  return names.length === Object.keys(right).length && names.every((name) => left[name] === right[name])
}

export const enablement: Aggregate<Enablement, EnablementCommand, EnablementEvent, TooManyFlowsEnabled> = {
  kind: "enablement",
  version: 1,
  events: eventFamily(EnablementEvent),
  initialState: { flows: {} },
  decide: (command, state) =>
    EnablementCommand.match(command, {
      EnableFlow: ({ flowId, version, bindings }) => {
        const known = enabledFlow(state, flowId)
        if (known !== undefined && known.version === version && sameBindings(known.bindings, bindings)) return Result.succeed([])
        return known === undefined && Object.keys(state.flows).length >= enabledFlowsMax
          ? Result.fail(new TooManyFlowsEnabled({ limit: enabledFlowsMax }))
          : Result.succeed([FlowEnabled.make({ flowId, version, bindings })])
      },
      DisableFlow: ({ flowId }) => Result.succeed(enabledFlow(state, flowId) === undefined ? [] : [FlowDisabled.make({ flowId })])
    }),
  evolve: (state, event) =>
    EnablementEvent.match(event, {
      FlowEnabled: ({ flowId, version, bindings }): Enablement => ({ flows: { ...state.flows, [flowId]: { version, bindings } } }),
      FlowDisabled: ({ flowId }): Enablement => {
        const { [flowId]: _, ...flows } = state.flows
        return { flows }
      }
    })
}
/** The stream's id within the tenant: there is one. */
export const enablementId = "self"
