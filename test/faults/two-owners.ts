/**
 * F12: two workers own the same buckets for a while and both work, since neither hears what the other says about ownership, and all else
 * reaches both: nobody stands still, so that only the appends tell who may act. Then they hear each other again.
 */
import { setTimeout as pause } from "node:timers/promises"
import { decodeBuckets, type Word } from "#adapters/nats/membership.ts"
import { allBuckets, type Buckets } from "#services/ports/ownership.ts"
import { ordersFlow } from "../support/orders.ts"
import { type DistributedPlatform, distributedScenario, startDistributed } from "./distributed-platform.ts"
import { type NatsLink, startNatsLink } from "./nats-link.ts"
import { addTenant, eventually, type Ledger, publishOrders, startLedger } from "./orders-platform.ts"
import type { BySize, Outcome, Scenario, Trial } from "./scenario.ts"
import { settled } from "./settled.ts"
import { SteadyOrders } from "./steady-orders.ts"

/** The first worker joins unheard; in each further round both own what is theirs, and then stop hearing each other. */
const rounds: BySize = { P: 1, N: 10, R: 40 }
const leaseMillis = 8_000
/** A worker that hears nobody takes over at its next word after the lease. */
const takeoverMillisMax = 2 * leaseMillis
/** Under load, with all buckets owned by both; and the cut lasts longer than the lease. */
const overlapMillis = 5_000
const healMillisMax = 20_000
const tenantsCount = 6
const perSecond = 20
/** Of one tenant at the same moment: its tickets go to both owners, and each finds what the other has in hand. */
const together = 4
/** Of each call of the app: several of each tenant's are under way at any moment. */
const answerMillis = 250

/** Has an action that honours no key: an order that comes twice is booked twice. */
const courier = `
id: courier
name: Courier
version: "1"
description: Books what it is sent, each time that it is sent.
baseUrl: "{address}/courier"
variables:
  address: { kind: origin, description: Where it answers. }
auth:
  apiKey: { kind: apiKey, place: { in: header, name: x-api-key } }
actions:
  book:
    description: Books a parcel.
    method: POST
    path: /bookings
    body: input
    effect: unsafe
    timeoutMillis: 10000
    input: { type: object, required: [externalId], properties: { externalId: { type: string }, entered: { type: string } } }
    output: { type: object, properties: { id: { type: string } } }
`
/** Enters each order under its key, then books it without one. */
const flow = (): string => `${ordersFlow()}
  - id: book
    kind: action
    connector: courier
    action: book
    input: '= { "externalId": steps.map.output.externalId, "entered": steps.send.output.id }'
`

/** A worker as the others hear it. */
interface Heard {
  readonly link: NatsLink
  readonly holds: () => Buckets
}
const startHeard = async (port: number): Promise<Heard> => {
  let holds: Buckets = new Set()
  const link = await startNatsLink({
    port,
    isCuttable: (subject) => subject.endsWith(".members"),
    onSaid: (payload) => {
      holds = decodeBuckets((JSON.parse(payload.toString("utf8")) as Word).holds)
    }
  })
  return { link, holds: () => holds }
}
/** Buckets that both say they hold. */
const heldByBoth = ([one, two]: readonly [Heard, Heard]): number => [...one.holds()].filter((bucket) => two.holds().has(bucket)).length
const heldByOne = (heard: readonly [Heard, Heard]): boolean =>
  heldByBoth(heard) === 0 && heard[0].holds().size + heard[1].holds().size === allBuckets.length

interface Overlap {
  readonly buckets: number
  readonly violations: ReadonlyArray<string>
}
/** From the cut to the moment at which each bucket has one owner again. */
const overlap = async (heard: readonly [Heard, Heard], round: number, cutAt: number): Promise<Overlap> => {
  const both = () => heldByBoth(heard) === allBuckets.length
  const violations: Array<string> = []
  if (!(await eventually(both, takeoverMillisMax))) violations.push(`in round ${round}, only ${heldByBoth(heard)} buckets had two owners`)
  await pause(Math.max(overlapMillis, cutAt + leaseMillis - performance.now()))
  const buckets = heldByBoth(heard)
  for (const { link } of heard) link.heal()
  if (!(await eventually(() => heldByOne(heard), healMillisMax)))
    violations.push(`${healMillisMax} ms after round ${round}, ${heldByBoth(heard)} buckets still have two owners`)
  return { buckets, violations }
}

const addTenants = (platform: DistributedPlatform, ledger: Ledger): Promise<ReadonlyArray<readonly [tenant: string, hook: string]>> =>
  Promise.all(
    Array.from({ length: tenantsCount }, async (_, index) => {
      const tenant = `tenant-${index}`
      const hook = await addTenant(platform.api, tenant, ledger)
      const secrets = { apiKey: `${tenant}-key` }
      const variables = { address: ledger.address }
      await platform.api.api("POST", `/tenants/${tenant}/connections`, { connector: "courier", method: "apiKey", secrets, variables })
      return [tenant, hook] as const
    })
  )

/** Each order's booking must have been sent once; and some must have been fought over. */
const judged = async (platform: DistributedPlatform, ledger: Ledger, orders: SteadyOrders): Promise<Omit<Outcome, "injected">> => {
  const bookings = ledger.unkeyed()
  const twice = [...bookings].filter(([, times]) => times > 1)
  const never = [...orders.acknowledged].filter((order) => !bookings.has(order))
  const begun = await platform.figure('runs_total{outcome="started"}')
  const beganInVain = begun - orders.acknowledged.size
  const sent = [...bookings.values()].reduce((sum, times) => sum + times, 0)
  const routedTwice = (await platform.figure('routed_total{outcome="routed"}')) - orders.acknowledged.size
  const conflicts = await platform.figure("append_conflicts_total")
  return {
    found: {
      "unsafe calls sent": sent,
      "unsafe calls not sent by who lost the run": begun - sent,
      "unsafe calls sent twice": twice.length,
      "events routed by both": routedTwice,
      "runs begun by both": beganInVain
    },
    violations: [
      ...twice.map(([order, times]) => `the unsafe call of ${order} was sent ${times} times`),
      ...never.map((order) => `the unsafe call of ${order} was never sent`),
      ...(beganInVain > 0 ? [] : ["no run was begun by both owners: nothing was fought over"]),
      ...(conflicts > 0 ? [] : ["no append was refused: nothing was fenced"])
    ]
  }
}

const inflict = async (folder: string, ends: Array<() => Promise<void>>, { size, random, say }: Trial): Promise<Outcome> => {
  const platform = await startDistributed(folder, 0)
  ends.unshift(platform.remove)
  const ledger = await startLedger(folder, answerMillis)
  ends.unshift(ledger.end)
  const heard = [await startHeard(platform.nats.port), await startHeard(platform.nats.port)] as const
  ends.push(...heard.map(({ link }) => link.close))
  const joined = performance.now()
  heard[1].link.cut()
  const starts = Promise.all(heard.map(({ link }) => platform.startWorker({ bus: link.url })))
  await platform.api.api("POST", "/connectors", courier)
  await publishOrders(platform.api, flow())
  const tenants = await addTenants(platform, ledger)
  await starts
  const orders = new SteadyOrders(
    tenants.map(([, hook]) => hook),
    perSecond,
    together
  )
  ends.unshift(() => orders.stop())
  const overlaps = [await overlap(heard, 1, joined)]
  say(`two owners for ${((performance.now() - joined) / 1_000).toFixed(1)} s: ${overlaps[0]!.buckets} buckets`)
  while (overlaps.length < rounds[size]) {
    heard[random.next() < 0.5 ? 0 : 1].link.cut()
    overlaps.push(await overlap(heard, overlaps.length + 1, performance.now()))
  }
  const end = await settled(
    { platform, ledger, orders },
    tenants.map(([tenant]) => tenant),
    say
  )
  const outcome = await judged(platform, ledger, orders)
  return {
    injected: {
      "cuts between owners": overlaps.length,
      "words withheld": heard.reduce((sum, { link }) => sum + link.withheld(), 0),
      "buckets with two owners": overlaps.reduce((sum, { buckets }) => sum + buckets, 0)
    },
    found: { ...end.found, ...outcome.found },
    violations: [...overlaps.flatMap(({ violations }) => violations), ...end.violations, ...outcome.violations]
  }
}

export const twoOwners: Scenario = distributedScenario("F12", "two workers own the same buckets", inflict)
