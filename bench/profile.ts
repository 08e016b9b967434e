/** `node bench/profile.ts ingest|runs|tenants [seconds]`: where the platform's threads spend their time under that row's load. Not a part of the bench. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { addTenant, idleFlow, prepareSpace, runningFlow, startPlatform } from "./platform.ts"
import { load, loadMany, startSink } from "./raw.ts"
import { installation, startOn } from "./rows/tenants.ts"
import { newFolder } from "./scratch.ts"

const root = join(import.meta.dirname, "..")
const linesShown = 30
const sampleMicros = 250
/** Before CPU is counted by thread; the profiles cover it. */
const warmSeconds = 4
/** More than are called within the warm-up: most calls meet a tenant that is not in memory. */
const tenantsCount = 50_000

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: ReadonlyArray<number>
}
interface Profile {
  readonly nodes: ReadonlyArray<ProfileNode>
  readonly samples: ReadonlyArray<number>
  readonly timeDeltas: ReadonlyArray<number>
}

const placeOf = ({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string => {
  const file = url
    .replace(/^file:\/\//u, "")
    .replace(`${root}/`, "")
    .replace("node_modules/", "~")
  return `${functionName || "(anonymous)"}  ${file === "" ? "" : `${file}:${lineNumber + 1}`}`
}

/** V8's name for a thread that has nothing to do. */
const idlePlace = "(idle)  "
const isOurs = (place: string): boolean => / {2}(adapters|domain|infra|projections|services)\//u.test(place)

/** Microseconds by function: alone, with everything that it called, and with what it called outside this repository. */
const timesOf = ({ nodes, samples, timeDeltas }: Profile) => {
  const own = new Map<number, number>()
  for (const [index, id] of samples.entries()) own.set(id, (own.get(id) ?? 0) + timeDeltas[index]!)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const self = new Map<string, number>()
  const total = new Map<string, number>()
  const owned = new Map<string, number>()
  const walk = (id: number, above: ReadonlySet<string>, caller: string): number => {
    const node = byId.get(id)!
    const place = placeOf(node)
    const within = above.has(place) ? above : new Set(above).add(place)
    const mine = own.get(id) ?? 0
    const owner = isOurs(place) ? place : caller
    if (place !== idlePlace) owned.set(owner, (owned.get(owner) ?? 0) + mine)
    let sum = mine
    for (const child of node.children ?? []) sum += walk(child, within, owner)
    self.set(place, (self.get(place) ?? 0) + mine)
    if (!above.has(place)) total.set(place, (total.get(place) ?? 0) + sum)
    return sum
  }
  walk(nodes[0]!.id, new Set(), "outside any function of this repository  ")
  return { self, total, owned }
}

/** The package, the room or the kind of work that a function belongs to. */
const areaOf = (place: string): string => {
  const [name, file = ""] = place.split("  ") as [string, string?]
  if (file.startsWith("~")) return file.split("/")[0]!.slice(1)
  if (file.startsWith("node:"))
    return /^node:(_http|internal\/http|net|stream|internal\/streams|internal\/stream_base)/u.test(file)
      ? "node: http and sockets"
      : "node: other"
  return file === "" || file.startsWith("wasm") ? `engine: ${name}` : file.replace(/:\d+$/u, "")
}

const byArea = (self: ReadonlyMap<string, number>): ReadonlyMap<string, number> => {
  const areas = new Map<string, number>()
  for (const [place, micros] of self) areas.set(areaOf(place), (areas.get(areaOf(place)) ?? 0) + micros)
  return areas
}

const print = (title: string, times: ReadonlyMap<string, number>, whole: number) => {
  console.log(`\n  ${title}`)
  const shown = [...times].sort(([, left], [, right]) => right - left).slice(0, linesShown)
  for (const [place, micros] of shown) console.log(`  ${((micros / whole) * 100).toFixed(1).padStart(5)} %  ${place}`)
}

/** CPU seconds of each thread of a process so far, by thread id and name. */
const threadSeconds = (pid: number): ReadonlyMap<string, number> =>
  new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      const [, name, rest] = /^\d+ \((.*)\) (.*)$/su.exec(readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1"))!
      const fields = rest!.split(" ")
      return [`${thread} ${name}`, (Number(fields[11]) + Number(fields[12])) / 100]
    })
  )

const report = (file: string) => {
  const profile = JSON.parse(readFileSync(file, "utf8")) as Profile
  const { self, total, owned } = timesOf(profile)
  const all = [...self.values()].reduce((sum, micros) => sum + micros, 0)
  const idle = self.get(idlePlace) ?? 0
  self.delete(idlePlace)
  console.log(
    `\n== ${file.slice(file.lastIndexOf("/") + 1)}: busy ${((1 - idle / all) * 100).toFixed(0)} % of ${(all / 1e6).toFixed(1)} s; shares of the busy time`
  )
  print("self, by area", byArea(self), all - idle)
  print("self", self, all - idle)
  print("with what they called outside this repository", owned, all - idle)
  print("with everything that they called", new Map([...total].filter(([place]) => isOurs(place))), all - idle)
}

const [what = "ingest", seconds = "6"] = process.argv.slice(2)
const profiles = join(newFolder(), "profiles")
const nodeArguments = ["--cpu-prof", `--cpu-prof-dir=${profiles}`, `--cpu-prof-interval=${sampleMicros}`]

/** One tenant, whose orders start runs or do not. */
const oneTenant = async () => {
  const sink = await startSink()
  const platform = await startPlatform({ folder: newFolder(), nodeArguments })
  await prepareSpace(platform)
  const url = await addTenant(platform, { id: "profile", flow: what === "runs" ? runningFlow : idleFlow, sinkUrl: sink.url })
  return { platform, drive: (during: number) => load(url, { seconds: during, conns: 64 }) }
}

const manyTenants = async () => {
  const { platform, urlsFile } = await startOn(await installation(tenantsCount), nodeArguments)
  return { platform, drive: (during: number) => loadMany(urlsFile, { seconds: during, conns: 64 }) }
}

const { platform, drive } = await (what === "tenants" ? manyTenants() : oneTenant())
await drive(warmSeconds)
const before = threadSeconds(platform.child.pid)
const loaded = await drive(Number(seconds))
console.log(
  `${loaded.perSecond.toFixed(0)} acks/s, p99 ${loaded.latency.p99} ms; CPU by thread, in microseconds per acknowledged delivery:`
)
for (const [thread, used] of threadSeconds(platform.child.pid)) {
  const micros = ((used - (before.get(thread) ?? 0)) * 1e6) / loaded.ok
  if (micros >= 1) console.log(`  ${micros.toFixed(0).padStart(5)}  ${thread}`)
}
await platform.child.stop()
for (const file of readdirSync(profiles)) report(join(profiles, file))
process.exit(0)
