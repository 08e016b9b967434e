/**
 * Rows `latency.p50` and `latency.p99`: from the vendor's send to the arrival at the sink, at 20 orders a second; the same through the
 * bare prototype is the reference.
 */
import { join } from "node:path"
import { until } from "../child.ts"
import { addTenant, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { type Latency, load, startPrototype, startSink } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atMost, type Measured, median } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

const perSecond = 20
const arrivalSeconds = 10
/** Before it is measured: a server that has run for a while has compiled what it runs. */
const warmSeconds = 3

export const latency = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 4 : 15
  const folder = newFolder()
  const sink = await startSink()
  const platform = await startPlatform({ folder })
  await prepareSpace(platform)
  const prototype = await startPrototype(join(folder, "prototype"), sink.url)
  const url = await addTenant(platform, { id: "latency", flow: runningFlow, sinkUrl: sink.url })
  for (const warmed of [url, prototype.url]) await load(warmed, { seconds: warmSeconds, conns: 8, rate: 200 })
  const through = async (target: string): Promise<Latency> => {
    await sink.ask("/reset")
    const { ok } = await load(target, { seconds, conns: 8, rate: perSecond })
    return until("all orders to arrive", arrivalSeconds, async () => {
      const { distinct, e2e } = await sink.ask("/")
      return distinct >= ok ? e2e : null
    })
  }
  const rounds = await inRounds("latency", settings, async () => ({ bare: await through(prototype.url), ours: await through(url) }))
  await Promise.all([platform.child.stop(), prototype.child.stop(), sink.child.stop()])
  removeFolder(folder)
  const row = (name: string, of: "p50" | "p99", limit: number): Measured => ({
    name,
    value: median(rounds.map(({ ours }) => ours[of])),
    unit: "ms",
    reference: median(rounds.map(({ bare }) => bare[of])),
    targets: [atMost(limit)]
  })
  return [row("latency.p50", "p50", 1.5), row("latency.p99", "p99", 5)]
}
