/**
 * Rows `distributed.ingest` and `distributed.runs`: acknowledgements and completed runs a second of one process on the distributed wiring,
 * with the embedded form beside it in the same rounds as the reference. Its stores are stand-ins: see `servers.ts`.
 */
import { until } from "../child.ts"
import { addTenant, idleFlow, type Platform, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { load, type Sink, type SinkFigures, startSink } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { type Measured, median } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"
import { startServers } from "../servers.ts"

const drainSeconds = 120
const warmSeconds = 4

interface Subject {
  readonly platform: Platform
  readonly ingestUrl: string
  readonly runsUrl: string
}

const prepared = async (platform: Platform, sinkUrl: string): Promise<Subject> => {
  await prepareSpace(platform)
  const ingestUrl = await addTenant(platform, { id: "ingest", flow: idleFlow, sinkUrl })
  const runsUrl = await addTenant(platform, { id: "runs", flow: runningFlow, sinkUrl })
  return { platform, ingestUrl, runsUrl }
}

/** Runs that succeeded a second, from the first arrival at the app to the last. */
const runsPerSecond = async ({ runsUrl }: Subject, sink: Sink<SinkFigures>, seconds: number): Promise<number> => {
  await sink.ask("/reset")
  const { ok } = await load(runsUrl, { seconds, conns: 32 })
  const { first, last, distinct } = await until("all runs to reach the app", drainSeconds, async () => {
    const figures = await sink.ask("/")
    return figures.distinct >= ok ? figures : null
  })
  return distinct / ((last - first) / 1000)
}

const measured = async (subject: Subject, sink: Sink<SinkFigures>, seconds: number) => ({
  ingest: (await load(subject.ingestUrl, { seconds, conns: 64 })).perSecond,
  runs: await runsPerSecond(subject, sink, seconds)
})

export const distributed = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 2 : 4
  const folder = newFolder()
  const [servers, sink] = [await startServers(folder), await startSink()]
  const embedded = await prepared(await startPlatform({ folder }), sink.url)
  const subject = await prepared(await startPlatform({ folder, environment: servers.environment }), sink.url)
  for (const { runsUrl } of [embedded, subject]) await load(runsUrl, { seconds: warmSeconds, conns: 32 })
  const rounds = await inRounds("distributed", settings, async () => ({
    embedded: await measured(embedded, sink, seconds),
    distributed: await measured(subject, sink, seconds)
  }))
  await Promise.all([embedded.platform.child.stop(), subject.platform.child.stop(), sink.child.stop()])
  await servers.stop()
  removeFolder(folder)
  const row = (of: "ingest" | "runs", unit: string): Measured => ({
    name: `distributed.${of}`,
    value: median(rounds.map((round) => round.distributed[of])),
    unit,
    reference: median(rounds.map((round) => round.embedded[of])),
    targets: []
  })
  return [row("ingest", "acks/s"), row("runs", "runs/s")]
}
