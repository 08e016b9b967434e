/** F6: the disk is full while events come in. Intake says so, nothing acknowledged is lost, and it goes on by itself once there is room. */
import { spawnSync } from "node:child_process"
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { addTenant, deliverOnce, eventually, externalIdOf, type Ledger, publishOrders, startLedger, statusesOf } from "./orders-platform.ts"
import { type PlatformProcess, startPlatform } from "./platform-process.ts"
import { quantile } from "./random.ts"
import type { BySize, Scenario } from "./scenario.ts"

const cycles: BySize = { P: 3, N: 12, R: 50 }
const fullMillis: BySize = { P: 500, N: 2_000, R: 3_000 }
const diskMegabytes = 64
/** Also in a scenario that is about room, waiting has an end. */
const settleMillisMax = 60_000
const senders = 4

/** A way to take the room away and to give it back. */
interface Room {
  readonly name: string
  readonly take: () => void
  readonly give: () => void
}

const pageRoom = (file: string): Room => ({
  name: "max_page_count",
  take: () => writeFileSync(file, "1"), // No smaller than it is: SQLite takes the present size.
  give: () => writeFileSync(file, "0")
})

/** A filler takes all that the disk has, to the last byte. */
const diskRoom = (folder: string): Room => {
  const filler = join(folder, "filler")
  return {
    name: `tmpfs of ${diskMegabytes} MiB`,
    take: () => {
      for (const bytes of [1_048_576, 4_096, 1])
        try {
          for (;;) appendFileSync(filler, Buffer.alloc(bytes))
        } catch {
          // No room for a piece of this size any more.
        }
    },
    give: () => rmSync(filler, { force: true })
  }
}

interface Traffic {
  readonly acknowledged: Set<number>
  readonly refusals: Map<string, number>
  readonly unexpected: Array<string>
  lastOkAt: number
  stopped: boolean
}

/** Delivers order after order; what is refused is delivered again, as a vendor does. */
const send = async (hook: string, next: () => number, traffic: Traffic): Promise<void> => {
  while (!traffic.stopped) {
    const index = next()
    for (;;) {
      const response = await deliverOnce(hook, index)
      if (response?.ok === true) {
        traffic.acknowledged.add(index)
        traffic.lastOkAt = performance.now()
        break
      }
      const said = response === undefined ? "no answer" : `${response.status}`
      traffic.refusals.set(said, (traffic.refusals.get(said) ?? 0) + 1)
      if ((response?.status !== 503 && response?.status !== 507) || response.headers.get("retry-after") === null)
        traffic.unexpected.push(`an event was refused with ${said}, Retry-After ${response?.headers.get("retry-after") ?? "missing"}`)
      if (traffic.stopped) break
      await pause(20)
    }
    await pause(5)
  }
}

interface Cycled {
  readonly acknowledged: number
  readonly refused: Readonly<Record<string, number>>
  readonly recoveryMillis: ReadonlyArray<number>
  readonly violations: ReadonlyArray<string>
}

/** An API call that writes something, while there is no room: refused with 503, or, where pages had a little room left, kept. */
const createOnFullDisk = async (platform: PlatformProcess, id: string): Promise<"refused" | "kept" | { readonly wrong: string }> => {
  const response = await fetch(`${platform.url}/api/v1/tenants`, {
    method: "POST",
    headers: { "x-api-key": platform.key, "content-type": "application/json" },
    body: JSON.stringify({ id })
  })
  await response.text()
  if (response.status === 201) return "kept"
  const after = response.headers.get("retry-after")
  if (response.status === 503 && after !== null) return "refused"
  return { wrong: `creating a tenant on a full disk was answered with ${response.status}, Retry-After ${after}` }
}

const cycleThrough = async (
  platform: PlatformProcess,
  ledger: Ledger,
  tenant: string,
  room: Room,
  count: number,
  millis: number
): Promise<Cycled> => {
  const hook = await addTenant(platform, tenant, ledger)
  const traffic: Traffic = { acknowledged: new Set(), refusals: new Map(), unexpected: [], lastOkAt: 0, stopped: false }
  const before = new Set(ledger.orders())
  const violations: Array<string> = []
  const recoveryMillis: Array<number> = []
  const tenants: Array<string> = []
  let next = before.size
  const sending = Promise.all(Array.from({ length: senders }, () => send(hook, () => next++, traffic)))
  const refused = () => [...traffic.refusals.values()].reduce((sum, times) => sum + times, 0)
  for (let cycle = 0; cycle < count; cycle++) {
    await pause(200)
    const refusedBefore = refused()
    room.take()
    if (!(await eventually(() => refused() > refusedBefore + senders, 20_000, 20))) violations.push("nothing was refused on a full disk")
    const created = await createOnFullDisk(platform, `new-${cycle}`)
    if (created === "kept") tenants.push(`new-${cycle}`)
    else if (created !== "refused") violations.push(created.wrong)
    await pause(millis)
    room.give()
    const given = performance.now()
    if (!(await eventually(() => traffic.lastOkAt > given, settleMillisMax, 10)))
      violations.push("no event was taken any more after there was room again")
    recoveryMillis.push(traffic.lastOkAt - given)
  }
  traffic.stopped = true
  await sending
  for (const id of tenants)
    await platform.api("GET", `/tenants/${id}`).catch(() => violations.push(`the tenant ${id} was acknowledged on a full disk and is gone`))
  const missing = () => [...traffic.acknowledged].filter((index) => !ledger.orders().has(externalIdOf(index)))
  if (!(await eventually(() => missing().length === 0, settleMillisMax, 100)))
    violations.push(`${missing().length} of ${traffic.acknowledged.size} acknowledged events never reached the app`)
  const settled = async () => {
    const statuses = await statusesOf(platform, tenant)
    return Object.keys(statuses).join() === "succeeded" && statuses["succeeded"]! >= traffic.acknowledged.size
  }
  if (!(await eventually(settled, settleMillisMax, 200)))
    violations.push(
      `of ${traffic.acknowledged.size} acknowledged events, runs stand at ${JSON.stringify(await statusesOf(platform, tenant))}`
    )
  return {
    acknowledged: traffic.acknowledged.size,
    refused: Object.fromEntries(traffic.refusals),
    recoveryMillis,
    violations: [...violations, ...new Set(traffic.unexpected)].map((violation) => `${room.name}: ${violation}`)
  }
}

/** A file system of its own, where we may mount one. */
const mountDisk = (folder: string): boolean => {
  mkdirSync(folder, { recursive: true })
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${diskMegabytes}m,mode=0700`, "tmpfs", folder]).status === 0
}

const onPages = async (count: number, millis: number): Promise<Cycled> => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-full-"))
  const limit = join(folder, "page-limit")
  writeFileSync(limit, "0")
  const limiter = new URL("./page-limit.ts", import.meta.url).href
  const platform = await startPlatform({ PAGE_LIMIT_FILE: limit, NODE_OPTIONS: `--import=${limiter}` }, folder)
  return withLedger(platform, folder, (ledger) => cycleThrough(platform, ledger, "acme-corp", pageRoom(limit), count, millis))
}

const onDisk = async (count: number, millis: number): Promise<Cycled | undefined> => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-full-"))
  const data = join(folder, "data")
  if (!mountDisk(data)) {
    rmSync(folder, { recursive: true })
    return undefined
  }
  try {
    const platform = await startPlatform({}, folder)
    return await withLedger(platform, undefined, (ledger) => cycleThrough(platform, ledger, "acme-corp", diskRoom(data), count, millis))
  } finally {
    spawnSync("umount", [data])
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The ledger never lies on the disk that is full. The platform must be the same process in the end. */
const withLedger = async (
  platform: PlatformProcess,
  folder: string | undefined,
  cycle: (ledger: Ledger) => Promise<Cycled>
): Promise<Cycled> => {
  const place = mkdtempSync(join(tmpdir(), "tributary-ledger-"))
  const ledger = await startLedger(place)
  try {
    await publishOrders(platform)
    const cycled = await cycle(ledger)
    const doubled = ledger.doubled().map((order) => `the order ${order} was entered under two keys`)
    const restarted = platform.isRunning() ? [] : ["the platform had ended"]
    return { ...cycled, violations: [...cycled.violations, ...doubled, ...restarted] }
  } finally {
    await ledger.end()
    await platform.kill()
    for (const path of [place, folder]) if (path !== undefined) rmSync(path, { recursive: true, force: true })
  }
}

export const diskFull: Scenario = {
  id: "F6",
  title: "the disk is full",
  run: async ({ size, say }) => {
    const onDiskCycles = Math.floor(cycles[size] / 2)
    const disk = await onDisk(onDiskCycles, fullMillis[size])
    if (disk === undefined) say("SKIPPED the tmpfs: only root may mount one; all cycles are by max_page_count")
    const pages = await onPages(cycles[size] - (disk === undefined ? 0 : onDiskCycles), fullMillis[size])
    const recoveries = [...pages.recoveryMillis, ...(disk?.recoveryMillis ?? [])]
    return {
      injected: { "cycles by max_page_count": pages.recoveryMillis.length, "cycles on a full tmpfs": disk?.recoveryMillis.length ?? 0 },
      found: {
        "events acknowledged": pages.acknowledged + (disk?.acknowledged ?? 0),
        refusals: JSON.stringify({ pages: pages.refused, tmpfs: disk?.refused ?? {} }),
        "taken again p50 ms": Math.round(quantile(recoveries, 0.5)),
        "taken again max ms": Math.round(quantile(recoveries, 1))
      },
      violations: [...pages.violations, ...(disk?.violations ?? [])]
    }
  }
}
