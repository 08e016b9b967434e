/**
 * Rows `start.ack`, `start.run` and `start.list`: from the spawn of the process, on a journal of 1,000,000 events against a nearly empty
 * one; `start5m.…` with 5,000,000 events.
 */
import { cpSync } from "node:fs"
import { pause } from "../child.ts"
import { addTenant, platformAt, prepareSpace, runningFlow, spawnPlatform, startPlatform } from "../platform.ts"
import { load, startSink } from "../raw.ts"
import { pool, runTag } from "../reference/payload.mjs"
import { inRounds, type Settings } from "../rounds.ts"
import { atMost, type Measured, median } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"
import { seedEvents } from "../seeding.ts"
import { viewsCaughtUp } from "../views.ts"

const secondsMax = 0.8
const slowerMax = 0.15
/** Between two tries: a port that is not open yet refuses at once. */
const retryMillis = 3
const giveUpSeconds = 30
const tenant = "start"

interface Installation {
  readonly folder: string
  readonly key: string
  readonly hookPath: string
}
/** Seconds from the spawn. */
interface Times {
  readonly ack: number
  readonly run: number
  readonly list: number
}

const [order] = pool(1)

/** Tries until it succeeds; answers the seconds since `began`. */
const firstSuccess = async (began: number, attempt: () => Promise<boolean>): Promise<number> => {
  for (;;) {
    const succeeded = await attempt().catch(() => false)
    const seconds = (performance.now() - began) / 1000
    if (succeeded) return seconds
    if (seconds > giveUpSeconds) throw new Error(`Nothing was answered ${giveUpSeconds} s after the start.`)
    await pause(retryMillis)
  }
}

const deliver = async (url: string): Promise<boolean> => {
  const headers = {
    "content-type": "application/json",
    "x-shopify-topic": "orders/create",
    "x-shopify-hmac-sha256": order!.hmac,
    "x-shopify-webhook-id": runTag(),
    "x-bench-sent-at": "0"
  }
  return (await fetch(url, { method: "POST", headers, body: new Uint8Array(order!.body) })).ok
}

const timed = async ({ folder, key, hookPath }: Installation): Promise<Times> => {
  const began = performance.now()
  const { url, child } = await spawnPlatform({ folder, key })
  const platform = platformAt(url, key, child)
  const isListed = async () => {
    await platform.call("GET", `/tenants/${tenant}/executions?limit=20`)
    return true
  }
  const acknowledged = firstSuccess(began, () => deliver(url + hookPath))
  const listed = firstSuccess(began, isListed)
  const ack = await acknowledged
  const run = await firstSuccess(began, async () => (await platform.metric(`runs_total{outcome="succeeded"}`)) > 0)
  const list = await listed
  await child.stop()
  return { ack, run, list }
}

/** A nearly empty installation, and a copy of it with many events, its views up to date. */
const installations = async (sinkUrl: string, events: number, tell: Settings["tell"]): Promise<readonly [Installation, Installation]> => {
  const folder = newFolder()
  const platform = await startPlatform({ folder })
  await prepareSpace(platform)
  const hook = await addTenant(platform, { id: tenant, flow: runningFlow, sinkUrl })
  await load(hook, { seconds: 1, conns: 1, rate: 10 })
  await viewsCaughtUp(platform)
  await platform.child.stop()
  const full = newFolder()
  cpSync(folder, full, { recursive: true })
  await seedEvents(full, events, tell)
  const again = await startPlatform({ folder: full, key: platform.key })
  await viewsCaughtUp(again, tell)
  await again.child.stop()
  const common = { key: platform.key, hookPath: new URL(hook).pathname }
  return [
    { ...common, folder },
    { ...common, folder: full }
  ]
}

const startWith =
  (name: string, events: number) =>
  async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
    const sink = await startSink()
    const [empty, full] = await installations(sink.url, settings.quick ? events / 10 : events, settings.tell)
    await timed(empty)
    const rounds = await inRounds(name, settings, async () => ({ empty: await timed(empty), full: await timed(full) }))
    await sink.child.stop()
    for (const { folder } of [empty, full]) removeFolder(folder)
    return (["ack", "run", "list"] as const).map((what) => {
      const reference = median(rounds.map((round) => round.empty[what]))
      return {
        name: `${name}.${what}`,
        value: median(rounds.map((round) => round.full[what])),
        unit: "s",
        reference,
        targets: [atMost(secondsMax), atMost(Number((reference + slowerMax).toFixed(3)))]
      }
    })
  }

export const start = startWith("start", 1_000_000)
export const start5m = startWith("start5m", 5_000_000)
