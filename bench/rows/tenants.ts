/**
 * Rows `tenants.memory` and `tenants.ingest`: 100,000 tenants with an enabled flow each, idle and then called all over, against 10 tenants;
 * `tenants5m.…` with 5,000,000 events of theirs in the journal.
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pause } from "../child.ts"
import { inspectable, settledMemory } from "../inspector.ts"
import { type Platform, prepareSpace, startPlatform } from "../platform.ts"
import { type LoadResult, load, loadMany } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atMost, type Measured, median, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"
import { seedEvents, seedTenants } from "../seeding.ts"
import { viewsCaughtUp } from "../views.ts"

const few = 10
const bytesPerTenantMax = 1024
/** So much longer than a round are the tenants called before it is measured: most have been seen once. */
const warmFactor = 3
/** Replaced by the address of each start. */
const placeholder = "http://platform"
const urlsName = "urls"

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

/** Starts it, does something with it, and stops it when its views know of everything. */
const running = async (
  installed: { readonly folder: string; readonly key?: string },
  work: (platform: Platform) => Promise<unknown>,
  tell: Settings["tell"]
): Promise<string> => {
  const platform = await startPlatform(installed)
  await work(platform)
  await viewsCaughtUp(platform, tell)
  await platform.child.stop()
  return platform.key
}
const nothing = async () => {}

/** A data folder with so many tenants, in all with so many events where wanted, its views up to date, and nothing running. */
export const installation = async (count: number, tell: Settings["tell"] = () => {}, events = 0): Promise<Installation> => {
  // Each tenant's secrets are commits of their own: they are made where a commit costs nothing.
  const made = newFolder({ volatile: true })
  const key = await running({ folder: made }, prepareSpace, () => {})
  await seedTenants(made, count, join(made, urlsName), placeholder, tell)
  const folder = newFolder()
  cpSync(made, folder, { recursive: true })
  removeFolder(made)
  const urlsFile = join(folder, urlsName)
  if (events > 0) {
    const [url] = readFileSync(urlsFile, "utf8").split("\n")
    const order = ({ url: here }: Platform) => load(url!.replace(placeholder, here), { seconds: 1, conns: 1, rate: 10 })
    await running({ folder, key }, order, () => {})
    await seedEvents(folder, events, tell, urlsFile)
  }
  await running({ folder, key }, nothing, tell)
  return { folder, key, urlsFile, count }
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

const tenantsWith =
  (name: string, events: number) =>
  async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
    const seconds = settings.quick ? 3 : 6
    const manyCount = settings.quick ? 10_000 : 100_000
    const { quick, tell } = settings
    const installed = [await installation(few), await installation(manyCount, tell, quick ? events / 10 : events)] as const
    const [fewRunning, manyRunning] = [await startOn(installed[0]), await startOn(installed[1])]
    const bytesPerTenant = ((await idleBytes(manyRunning)) - (await idleBytes(fewRunning))) / manyCount
    const ingest = ({ urlsFile }: Running, during = seconds): Promise<LoadResult> => loadMany(urlsFile, { seconds: during, conns: 64 })
    await ingest(fewRunning)
    await ingest(manyRunning, seconds * warmFactor)
    const rounds = await inRounds(name, settings, async () => ({
      few: (await ingest(fewRunning)).perSecond,
      many: (await ingest(manyRunning)).perSecond
    }))
    await Promise.all([fewRunning.platform.child.stop(), manyRunning.platform.child.stop()])
    for (const { folder } of installed) removeFolder(folder)
    return [
      { name: `${name}.memory`, value: bytesPerTenant, unit: "bytes/tenant", reference: null, targets: [atMost(bytesPerTenantMax)] },
      {
        name: `${name}.ingest`,
        value: median(rounds.map(({ many }) => many)),
        unit: "acks/s",
        reference: median(rounds.map(({ few }) => few)),
        ratio: median(rounds.map(({ few, many }) => many / few)),
        targets: [ratioAtLeast(0.9)]
      }
    ]
  }

export const tenants = tenantsWith("tenants", 0)
export const tenants5m = tenantsWith("tenants5m", 5_000_000)
