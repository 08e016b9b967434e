/** Rows `ingest.c64` and `ingest.c16`: webhooks verified, deduplicated and committed a second, against `node:http` that answers 202. */
import { addTenant, idleFlow, prepareSpace, startPlatform } from "../platform.ts"
import { load, startRawServer } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

/** The engine of Node compiles some 600 functions before it is at full speed. */
const warmSeconds = 10
const limits = { 64: 0.3, 16: 0.2 } as const
type Connections = keyof typeof limits
const connections = [64, 16] as const

interface Pair {
  readonly raw: number
  readonly subject: number
}

export const ingest = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 2 : 4
  const folder = newFolder()
  const raw = await startRawServer()
  const platform = await startPlatform({ folder })
  await prepareSpace(platform)
  // Its flow waits for other events: what is measured ends where a run would begin.
  const url = await addTenant(platform, { id: "ingest", flow: idleFlow, sinkUrl: "http://127.0.0.1:9" })
  const pairOf = async (conns: Connections): Promise<Pair> => ({
    raw: (await load(raw.url, { seconds: seconds / 2, conns })).perSecond,
    subject: (await load(url, { seconds, conns })).perSecond
  })
  await load(url, { seconds: settings.quick ? 4 : warmSeconds, conns: 64 })
  const rounds = await inRounds("ingest", settings, async () => ({ 64: await pairOf(64), 16: await pairOf(16) }))
  await Promise.all([platform.child.stop(), raw.child.stop()])
  removeFolder(folder)
  return connections.map((conns) => ({
    name: `ingest.c${conns}`,
    value: median(rounds.map((round) => round[conns].subject)),
    unit: "acks/s",
    reference: median(rounds.map((round) => round[conns].raw)),
    ratio: median(rounds.map((round) => round[conns].subject / round[conns].raw)),
    targets: [ratioAtLeast(limits[conns])]
  }))
}
