/** F16, embedded: what an earlier release wrote is read and carried on; what a later one wrote is refused, untouched; both take turns on one folder. */
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as pause } from "node:timers/promises"
import { addTenant, deliverAll, eventually, type Ledger, publishOrders, startLedger, statusesOf } from "../orders-platform.ts"
import { type PlatformProcess, startOnFolder, startPlatform } from "../platform-process.ts"
import type { Random } from "../random.ts"
import type { BySize, Scenario } from "../scenario.ts"
import { previousRelease, unpackRelease } from "./releases.ts"
import { layStored } from "./stored-folder.ts"

const turns_: BySize = { P: 3, N: 40, R: 200 }
const ordersPerTurn = 15
const settleMillisMax = 60_000
const fixtures = new URL("../fixtures/", import.meta.url)

const succeeded = async (platform: PlatformProcess, tenant: string, count: number): Promise<boolean> =>
  eventually(async () => {
    const statuses = await statusesOf(platform, tenant)
    return statuses["succeeded"] === count && Object.keys(statuses).length === 1
  }, settleMillisMax)

const hashesOf = (folder: string): string =>
  readdirSync(folder)
    .filter((name) => /^(?:journal|vault)\.db(?:-wal)?$/u.test(name))
    .map(
      (name) =>
        `${name} ${createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex")}`
    )
    .join()

/** A stored folder is read: its runs are there, its deliveries are still known, and it goes on. */
const goOnFromStored = async (name: string, folder: string, ledger: Ledger): Promise<ReadonlyArray<string>> => {
  const { key, hook, orders } = layStored(name, folder)
  const platform = await startOnFolder(folder, key)
  try {
    const violations: Array<string> = []
    if (!(await succeeded(platform, "acme-corp", orders)))
      violations.push(`${name}: of ${orders} runs, today's code shows ${JSON.stringify(await statusesOf(platform, "acme-corp"))}`)
    await deliverAll(platform.url + hook, 0, orders)
    const next = await addTenant(platform, "later-corp", ledger)
    await deliverAll(next, 0, ordersPerTurn)
    if (!(await succeeded(platform, "later-corp", ordersPerTurn))) violations.push(`${name}: a new tenant's events do not run`)
    if (!(await succeeded(platform, "acme-corp", orders))) violations.push(`${name}: deliveries that were known before ran again`)
    return violations
  } finally {
    await platform.kill()
  }
}

/** A journal with an event of a version that does not exist yet: the start is refused, says why, and leaves every byte. */
const refuseNewer = async (name: string, folder: string): Promise<ReadonlyArray<string>> => {
  const { key } = layStored(name, folder)
  const data = join(folder, "data")
  const db = new DatabaseSync(join(data, "journal.db"))
  db.exec("INSERT INTO event_types(type, version) VALUES('RunStarted', 99)")
  db.close()
  const before = hashesOf(data)
  const said = await startOnFolder(folder, key).then(
    async (platform) => {
      await platform.kill()
      return ""
    },
    (cause: Error) => cause.message
  )
  return [
    ...(said.includes("RunStarted@99")
      ? []
      : [`a journal with RunStarted@99 was not refused by name: ${said === "" ? "it started" : said}`]),
    ...(hashesOf(data) === before ? [] : ["a refused start changed the journal or the vault"])
  ]
}

/** The other release and today's take turns on one folder, each killed while events come in. */
const takeTurns = async (mains: readonly [string, string], folder: string, ledger: Ledger, turns: number, random: Random) => {
  const platform = await startPlatform({}, folder, mains[0])
  await publishOrders(platform)
  const hook = await addTenant(platform, "acme-corp", ledger)
  let started = 0
  let kills = 0
  const violations: Array<string> = []
  const sending = deliverAll(hook, 0, turns * ordersPerTurn, { mayGo: (index) => index < (started + 1) * ordersPerTurn })
  for (let turn = 1; turn < turns; turn++) {
    await pause(150 + random.next() * 200)
    await platform.kill()
    kills++
    await platform.start(mains[turn % 2])
    started++
  }
  await sending
  if (!(await succeeded(platform, "acme-corp", turns * ordersPerTurn)))
    violations.push(`after ${turns} turns, runs stand at ${JSON.stringify(await statusesOf(platform, "acme-corp"))}`)
  violations.push(...ledger.doubled().map((order) => `the order ${order} was entered under two keys`))
  const undecodable = /UnknownEvent|does not know the event type/u.test(platform.output())
  if (undecodable) violations.push("an event could not be decoded")
  await platform.kill()
  return { kills, violations }
}

export const mixedVersions: Scenario = {
  id: "F16",
  title: "releases take turns",
  run: async ({ size, random, say }) => {
    const scratch = mkdtempSync(join(tmpdir(), "tributary-releases-"))
    const ledger = await startLedger(scratch)
    try {
      const violations: Array<string> = []
      const names = readdirSync(fixtures)
      for (const name of names) violations.push(...(await goOnFromStored(name, join(scratch, `stored-${name}`), ledger)))
      violations.push(...(await refuseNewer(names.at(-1)!, join(scratch, "newer"))))
      const previous = previousRelease()
      if (previous === undefined) say("SKIPPED the turns with the previous release: there is no history here (a shallow clone)")
      const other = await startLedgerIn(scratch)
      const mains = previous === undefined ? undefined : ([unpackRelease(previous, join(scratch, "code")), mainOfToday] as const)
      const taken = mains === undefined ? undefined : await takeTurns(mains, join(scratch, "turns"), other, turns_[size], random)
      await other.end()
      return {
        injected: {
          "stored folders of earlier commits": names.length,
          "refused newer journals": 1,
          "kills between releases": taken?.kills ?? 0
        },
        found: { "previous release": previous ?? "none", orders: ledger.orders().size + other.orders().size },
        violations: [...violations, ...(taken?.violations ?? [])]
      }
    } finally {
      await ledger.end()
      rmSync(scratch, { recursive: true, force: true })
    }
  }
}

const mainOfToday = new URL("../../../infra/main.ts", import.meta.url).pathname
const startLedgerIn = (scratch: string): Promise<Ledger> => startLedger(mkdtempSync(join(scratch, "ledger-")))
