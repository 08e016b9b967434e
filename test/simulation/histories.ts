/** What the log of an execution says, read once: runs, deliveries and quota windows with their events and final states. */
import { apiKey } from "#domain/api-key.ts"
import { connector } from "#domain/connector.ts"
import type { Aggregate } from "#domain/decider.ts"
import { type Delivery, delivery } from "#domain/delivery.ts"
import { enablement } from "#domain/enablement.ts"
import { endpoint } from "#domain/endpoint.ts"
import { flow } from "#domain/flow.ts"
import { integration } from "#domain/integration.ts"
import { name } from "#domain/name.ts"
import { type QuotaWindow, quota } from "#domain/quota.ts"
import { type Run, run } from "#domain/run.ts"
import { kindAndIdOf } from "#domain/scope.ts"
import { settings } from "#domain/settings.ts"
import { space } from "#domain/space.ts"
import { tenant } from "#domain/tenant.ts"
import { triggerOf } from "#services/delivery-content.ts"
import type { DurableLog, DurableStream, WrittenEvent } from "./durable-log.ts"

// biome-ignore lint/suspicious/noExplicitAny: aggregates of all kinds are folded here.
export type AnyAggregate = Aggregate<any, any, any, any>
const aggregates = new Map<string, AnyAggregate>(
  [apiKey, connector, delivery, enablement, endpoint, flow, integration, name, quota, run, settings, space, tenant].map((aggregate) => [
    aggregate.kind,
    aggregate as unknown as AnyAggregate
  ])
)

export interface History<State> {
  readonly id: string
  readonly stream: DurableStream
  readonly events: ReadonlyArray<WrittenEvent>
  /** After the last event. */
  readonly state: State
}
export interface DeliveryHistory extends History<Delivery> {
  /** The number of the order that was delivered. */
  readonly order: number
}
export interface Histories {
  readonly all: ReadonlyArray<History<unknown> & { readonly aggregate: AnyAggregate }>
  readonly runs: ReadonlyArray<History<Run>>
  readonly deliveries: ReadonlyArray<DeliveryHistory>
  readonly windows: ReadonlyArray<History<QuotaWindow>>
}

export const folded = (aggregate: AnyAggregate, events: ReadonlyArray<WrittenEvent>, from: unknown = aggregate.initialState): unknown => {
  let state = from
  for (const { type, version, data } of events) state = aggregate.evolve(state, aggregate.events.decode(type, version, data))
  return state
}

const firstOrderId = 5_600_000_000
const orderOf = ({ contents }: DurableStream): number => {
  const { body } = triggerOf(contents.get("event")!) as { readonly body: { readonly id: number } }
  return body.id - firstOrderId
}

export const historiesOf = (log: DurableLog): Histories => {
  const all = [...log.streams.values()].map((stream) => {
    const { kind, id } = kindAndIdOf(stream.name)
    const aggregate = aggregates.get(kind)
    if (aggregate === undefined) throw new Error(`The simulation does not know how to fold ${stream.name}.`)
    return { id, stream, events: stream.events, state: folded(aggregate, stream.events), aggregate }
  })
  const of = <State>(kind: AnyAggregate | Aggregate<State, never, never, never>) =>
    all.filter(({ aggregate }) => aggregate.kind === kind.kind) as unknown as ReadonlyArray<History<State>>
  return {
    all,
    runs: of<Run>(run as never),
    deliveries: of<Delivery>(delivery as never).map((history) => ({ ...history, order: orderOf(history.stream) })),
    windows: of<QuotaWindow>(quota as never)
  }
}
