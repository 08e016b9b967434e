/** Rows `inflight` and `inflight.memory`: 2,000 runs at a time against an app that answers after 500 ms. */
import { pause, until } from "../child.ts"
import { inspectable, settledMemory } from "../inspector.ts"
import { addTenant, type Platform, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { type LoadOptions, load, type Sink, type SlowSinkFigures, startSlowSink } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atLeast, atMost, type Measured, median } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

const atATime = 2_000
const answerMillis = 500
const fillSeconds = 60
const kilobyte = 1024
/** 2,200 deliveries: few wait behind those that are counted. */
const justEnough = { seconds: 2, rate: 1_100, conns: 64 }

const succeeded = (platform: Platform) => platform.metric(`runs_total{outcome="succeeded"}`)

/** Takes in deliveries while the app answers nothing, until 2,000 runs wait for it; more deliveries wait their turn. */
const fill = async (platform: Platform, url: string, sink: Sink<SlowSinkFigures>, options: LoadOptions): Promise<number> => {
  await sink.ask("/reset")
  await sink.ask("/hold")
  const { ok } = await load(url, options)
  await until(`${atATime} runs to wait for the app`, fillSeconds, async () =>
    (await sink.ask("/")).waiting >= Math.min(atATime, ok) ? true : platform.child.alive() ? null : Promise.reject(new Error("It died."))
  )
  return ok
}

/** Lets the app answer; runs a second from then until the last one. */
const drain = async (platform: Platform, sink: Sink<SlowSinkFigures>, before: number, expected: number): Promise<number> => {
  await sink.ask("/release")
  const began = performance.now()
  await until("all runs to succeed", fillSeconds, async () => ((await succeeded(platform)) - before >= expected ? true : null))
  const seconds = (performance.now() - began) / 1000
  return expected / seconds
}

/** Also proves that the tenant's limit holds: more at a time would make the figure mean something else. */
const perSecond = async (
  platform: Platform,
  url: string,
  sink: Sink<SlowSinkFigures>,
  seconds: number,
  tell: Settings["tell"]
): Promise<number> => {
  const before = await succeeded(platform)
  const rate = await drain(platform, sink, before, await fill(platform, url, sink, { seconds, conns: 64 }))
  const { waitingMax } = await sink.ask("/")
  if (waitingMax > atATime) tell(`inflight: ${waitingMax} runs were in flight at once, and the tenant's limit was ${atATime}`)
  return rate
}

/** Bytes that one more waiting run costs: what 2,000 of them add to a process that has thrown away its garbage. */
const bytesPerRun = async (url: string, platform: Platform, sink: Sink<SlowSinkFigures>): Promise<number> => {
  await pause(answerMillis)
  const idle = await settledMemory(platform.child)
  const before = await succeeded(platform)
  const taken = await fill(platform, url, sink, justEnough)
  const full = await settledMemory(platform.child)
  const { waiting } = await sink.ask("/")
  await drain(platform, sink, before, taken)
  // What an earlier round has left free in the heap hides growth from the system: the heap itself does not lie.
  return Math.max(full.residentBytes - idle.residentBytes, full.heapBytes - idle.heapBytes) / waiting
}

export const inflight = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const folder = newFolder()
  const sink = await startSlowSink(answerMillis)
  const platform = await startPlatform({ folder, nodeArguments: inspectable })
  await prepareSpace(platform)
  const url = await addTenant(platform, { id: "inflight", flow: runningFlow, sinkUrl: sink.url })
  await platform.call("PUT", "/tenants/inflight/settings/runs.inFlightMax", { value: atATime })
  await perSecond(platform, url, sink, 3, settings.tell)
  const rates = await inRounds("inflight", settings, () => perSecond(platform, url, sink, settings.quick ? 4 : 6, settings.tell))
  const memory = [await bytesPerRun(url, platform, sink), await bytesPerRun(url, platform, sink)]
  await Promise.all([platform.child.stop(), sink.child.stop()])
  removeFolder(folder)
  return [
    { name: "inflight", value: median(rates), unit: "runs/s", reference: null, targets: [atLeast(3_500)] },
    { name: "inflight.memory", value: median(memory) / kilobyte, unit: "KB/run", reference: null, targets: [atMost(30)] }
  ]
}
