/** Rows `latency.p50` and `latency.p99`: from the vendor's send to the arrival at the sink, at 20 orders a second. */
import { until } from "../child.ts"
import { addTenant, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { load, startSink } from "../raw.ts"
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
  const url = await addTenant(platform, { id: "latency", flow: runningFlow, sinkUrl: sink.url })
  await load(url, { seconds: warmSeconds, conns: 8, rate: 200 })
  const rounds = await inRounds("latency", settings, async () => {
    await sink.ask("/reset")
    const { ok } = await load(url, { seconds, conns: 8, rate: perSecond })
    return until("all orders to arrive", arrivalSeconds, async () => {
      const { distinct, e2e } = await sink.ask("/")
      return distinct >= ok ? e2e : null
    })
  })
  await Promise.all([platform.child.stop(), sink.child.stop()])
  removeFolder(folder)
  const row = (name: string, value: number, limit: number): Measured => ({
    name,
    value,
    unit: "ms",
    reference: null,
    targets: [atMost(limit)]
  })
  return [row("latency.p50", median(rounds.map(({ p50 }) => p50)), 1.5), row("latency.p99", median(rounds.map(({ p99 }) => p99)), 5)]
}
