/** Rows `tenants.memory` and `tenants.ingest`: 100,000 tenants with an enabled flow each, idle and then called all over, against 10 tenants. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { launch, pause } from "../child.ts"
import { inspectable, settledMemory } from "../inspector.ts"
import { type Platform, prepareSpace, startPlatform } from "../platform.ts"
import { type LoadResult, loadMany } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atMost, type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"
import { viewsCaughtUp } from "../views.ts"

const few = 10
const bytesPerTenantMax = 1024
/** So much longer than a round are the tenants called before it is measured: most have been seen once. */
const warmFactor = 3
/** Replaced by the address of each start. */
const placeholder = "http://platform"

interface Installation {
  readonly folder: string
  readonly key: string
  readonly urlsFile: string
  readonly count: number
}
interface Running {
  readonly platform: Platform
  readonly urlsFile: string
}

/** A data folder with so many tenants, its views up to date, and nothing running. */
export const installation = async (count: number): Promise<Installation> => {
  const folder = newFolder()
  const urlsFile = join(folder, "urls")
  const first = await startPlatform({ folder })
  await prepareSpace(first)
  await first.child.stop()
  const seeding = launch([join(import.meta.dirname, "../seed-tenants.ts"), folder, String(count), urlsFile, placeholder])
  const code = await seeding.ended
  if (code !== 0) throw new Error(`Seeding ${count} tenants ended with ${code}:\n${seeding.output().slice(-3000)}`)
  const again = await startPlatform({ folder, key: first.key })
  await viewsCaughtUp(again)
  await again.child.stop()
  return { folder, key: first.key, urlsFile, count }
}

/** A platform on it, and a file with its endpoints' URLs. */
export const startOn = async (
  { folder, key, urlsFile }: Installation,
  nodeArguments: ReadonlyArray<string> = inspectable
): Promise<Running> => {
  const platform = await startPlatform({ folder, key, nodeArguments })
  const here = `${urlsFile}-here`
  writeFileSync(here, readFileSync(urlsFile, "utf8").replaceAll(placeholder, platform.url))
  return { platform, urlsFile: here }
}

const idleBytes = async ({ platform }: Running): Promise<number> => {
  await pause(1_000)
  return (await settledMemory(platform.child)).residentBytes
}

export const tenants = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 3 : 6
  const manyCount = settings.quick ? 10_000 : 100_000
  const installed = [await installation(few), await installation(manyCount)] as const
  const [fewRunning, manyRunning] = [await startOn(installed[0]), await startOn(installed[1])]
  const bytesPerTenant = ((await idleBytes(manyRunning)) - (await idleBytes(fewRunning))) / manyCount
  const ingest = ({ urlsFile }: Running, during = seconds): Promise<LoadResult> => loadMany(urlsFile, { seconds: during, conns: 64 })
  await ingest(fewRunning)
  await ingest(manyRunning, seconds * warmFactor)
  const rounds = await inRounds("tenants", settings, async () => ({
    few: (await ingest(fewRunning)).perSecond,
    many: (await ingest(manyRunning)).perSecond
  }))
  await Promise.all([fewRunning.platform.child.stop(), manyRunning.platform.child.stop()])
  for (const { folder } of installed) removeFolder(folder)
  return [
    { name: "tenants.memory", value: bytesPerTenant, unit: "bytes/tenant", reference: null, targets: [atMost(bytesPerTenantMax)] },
    {
      name: "tenants.ingest",
      value: median(rounds.map(({ many }) => many)),
      unit: "acks/s",
      reference: median(rounds.map(({ few }) => few)),
      ratio: median(rounds.map(({ few, many }) => many / few)),
      targets: [ratioAtLeast(0.9)]
    }
  ]
}
