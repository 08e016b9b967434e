/** Rows `ingest.p99`, `ingest.completed`, `runs.completed`, `runs.cpu` and `memory.busy`: signed orders at full speed, each of them a recorded run. */
import { pause, until } from "../child.ts"
import { addTenant, type Platform, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { load, type Sink, type SinkFigures, startRawServer, startSink } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atLeast, atMost, type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

/** Until every acknowledged delivery has its run's outcome. */
const drainSeconds = 60
/** The engine of Node compiles some 600 functions before it is at full speed. */
const warmSeconds = 12
const residentEveryMillis = 250
const mebibyte = 1024 * 1024

interface Round {
  readonly raw: number
  readonly p99: number
  /** Runs that had reached the sink, per delivery acknowledged, when the load stopped. */
  readonly completedShare: number
  readonly completedPerSecond: number
  readonly cpuMillisPerRun: number
  readonly residentPeak: number
}

const succeeded = (platform: Platform) => platform.metric(`runs_total{outcome="succeeded"}`)

/** Highest resident memory while something goes on. */
const peakDuring = async <A>(platform: Platform, during: Promise<A>): Promise<readonly [A, number]> => {
  let isOver = false
  let peak = 0
  const watching = (async () => {
    while (!isOver) {
      peak = Math.max(peak, platform.child.residentBytes())
      await pause(residentEveryMillis)
    }
  })()
  try {
    return [await during, peak]
  } finally {
    isOver = true
    await watching
  }
}

/** One load, and all of its runs to their ends. */
const subjectRound = async (platform: Platform, url: string, sink: Sink<SinkFigures>, seconds: number) => {
  await sink.ask("/reset")
  const before = await succeeded(platform)
  const cpuBefore = platform.child.cpuSeconds()
  const [loaded, residentPeak] = await peakDuring(platform, load(url, { seconds, conns: 64 }))
  const { distinct: arrived } = await sink.ask("/")
  const completed = await until("all runs to succeed", drainSeconds, async () => {
    const now = (await succeeded(platform)) - before
    return now >= loaded.ok ? now : null
  })
  const cpuSeconds = platform.child.cpuSeconds() - cpuBefore
  const { distinct, first, last } = await sink.ask("/")
  if (distinct !== loaded.ok || completed !== loaded.ok) {
    throw new Error(`Of ${loaded.ok} acknowledged deliveries ${distinct} arrived at the sink and ${completed} runs succeeded.`)
  }
  return {
    p99: loaded.latency.p99,
    completedShare: arrived / loaded.ok,
    completedPerSecond: completed / ((last - first) / 1000),
    cpuMillisPerRun: (cpuSeconds * 1000) / completed,
    residentPeak
  }
}

export const runs = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 3 : 8
  const folder = newFolder()
  const raw = await startRawServer()
  const sink = await startSink()
  const platform = await startPlatform({ folder })
  await prepareSpace(platform)
  const url = await addTenant(platform, { id: "runs", flow: runningFlow, sinkUrl: sink.url })
  await subjectRound(platform, url, sink, settings.quick ? 4 : warmSeconds)
  const rounds = await inRounds("runs", settings, async (): Promise<Round> => {
    const { perSecond } = await load(raw.url, { seconds: 2, conns: 64 })
    return { raw: perSecond, ...(await subjectRound(platform, url, sink, seconds)) }
  })
  await Promise.all([platform.child.stop(), raw.child.stop(), sink.child.stop()])
  removeFolder(folder)
  const of = (key: keyof Round) => median(rounds.map((round) => round[key]))
  const reference = of("raw")
  return [
    { name: "ingest.p99", value: of("p99"), unit: "ms", reference: null, targets: [atMost(25)] },
    { name: "ingest.completed", value: of("completedShare"), unit: "completed/acked", reference: null, targets: [atLeast(0.95)] },
    {
      name: "runs.completed",
      value: of("completedPerSecond"),
      unit: "runs/s",
      reference,
      ratio: median(rounds.map((round) => round.completedPerSecond / round.raw)),
      targets: [ratioAtLeast(0.07)]
    },
    { name: "runs.cpu", value: of("cpuMillisPerRun"), unit: "ms/run", reference: null, targets: [atMost(0.2)] },
    { name: "memory.busy", value: of("residentPeak") / mebibyte, unit: "MiB", reference: null, targets: [atMost(350)] }
  ]
}
