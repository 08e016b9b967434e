/** All aggregates' event families: how a stored event of any type is read. */
import { apiKey } from "./api-key.ts"
import { connector } from "./connector.ts"
import { delivery } from "./delivery.ts"
import { enablement } from "./enablement.ts"
import { endpoint } from "./endpoint.ts"
import type { EventFamily } from "./event-family.ts"
import { flow } from "./flow.ts"
import { integration } from "./integration.ts"
import { name } from "./name.ts"
import { quota } from "./quota.ts"
import { relay } from "./relay.ts"
import { retention } from "./retention.ts"
import { run } from "./run.ts"
import { settings } from "./settings.ts"
import { space } from "./space.ts"
import { tenant } from "./tenant.ts"

// biome-ignore lint/suspicious/noExplicitAny: a list of families holds different event types.
export type AnyEventFamily = EventFamily<any>
export type FamiliesByType = ReadonlyMap<string, AnyEventFamily>

/** The family of each type. Throws when two aggregates share a type's name: stored events carry nothing else to tell them apart. */
export const familiesByType = (families: ReadonlyArray<AnyEventFamily>): FamiliesByType => {
  const byType = new Map<string, AnyEventFamily>()
  for (const family of families)
    for (const type of family.types) {
      if (byType.has(type)) throw new Error(`Two aggregates have an event named ${type}. Rename the newer one.`)
      byType.set(type, family)
    }
  return byType
}

const aggregates = [
  apiKey,
  connector,
  delivery,
  enablement,
  endpoint,
  flow,
  integration,
  name,
  quota,
  relay,
  retention,
  run,
  settings,
  space,
  tenant
].map(({ kind, events }) => ({ kind, events: events as AnyEventFamily }))

/** Every event that a journal of this release can hold. */
export const allEvents: FamiliesByType = familiesByType(aggregates.map(({ events }) => events))

/** The kind of stream that each type lies in. */
export const kindOfEvent: ReadonlyMap<string, string> = new Map(
  aggregates.flatMap(({ kind, events }) => events.types.map((type) => [type, kind] as const))
)

/** The newest version of each type: what a journal is checked against before it is opened (R5). */
export const eventVersions: Readonly<Record<string, number>> = Object.fromEntries(
  [...allEvents].map(([type, family]) => [type, family.versionOf(type)])
)
