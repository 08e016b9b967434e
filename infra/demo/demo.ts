/** The demo: the main job on real input, in real processes, with `kill -9` in the middle. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type Client, makeClient } from "../cli/client.ts"
import { type CommandFailed, failed } from "../cli/failure.ts"
import { styled } from "../cli/output.ts"
import type { FromErp, FromShop, Shop, ShopReport, ToErp, ToShop } from "./messages.ts"
import { type Platform, type PlatformOptions, platform, type Vendor, vendor } from "./processes.ts"
import { type Crash, type Evidence, prove } from "./proof.ts"
import { exampleOf, readLedger, untilQuiet } from "./records.ts"
import { startServers } from "./servers.ts"
import { type DemoTenant, makeTenants, setUp } from "./setup.ts"
import { documentOf, storyOf, type Told } from "./story.ts"

export interface DemoOptions {
  /** Three processes over servers, one of which is killed; else one process over a folder, which is killed and started again. */
  readonly distributed: boolean
  readonly orders: number
  readonly keep: boolean
  readonly json: boolean
}

/** For those who try things out on what `--keep` leaves running. */
const visitorKey = "visitor"
const perSecond = 20
const duplicates = 6
/** The process is killed once this share of the orders is acknowledged and so many calls are in the ERP's hands. */
const killAfterShare = 0.45
const killAtInHand = 3
const killPatienceMillis = 20_000

type Say = (text: string) => Effect.Effect<void>
type Erp = Vendor<ToErp, FromErp>
type ShopApp = Vendor<ToShop, FromShop>

/** Everything that runs before the first order is sent. */
interface Stage {
  readonly say: Say
  readonly tenants: ReadonlyArray<DemoTenant>
  readonly erp: Erp
  readonly erpUrl: string
  readonly shop: ShopApp
  readonly shops: ReadonlyArray<Shop>
  readonly ledgerFile: string
  /** Without the port: the second start takes that of the first. */
  readonly place: Omit<PlatformOptions, "port">
  /** Takes in what the shop sends. */
  readonly first: Platform
  /** The processes that run the flows beside it; none in the embedded form. */
  readonly workers: ReadonlyArray<Platform>
  readonly firstKey: string
  readonly client: Client
}

/** A folder that is gone afterwards. */
const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tributary-demo-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const startPlatform = (options: PlatformOptions): Effect.Effect<Platform, CommandFailed, Scope.Scope> =>
  Effect.acquireRelease(platform(options), ({ stop }) => stop)

const startErp = Effect.fnUntraced(function* (ledger: string, tenants: ReadonlyArray<DemoTenant>) {
  const erp = yield* vendor<ToErp, FromErp>("vendor-erp.ts")
  const keys = Object.fromEntries(tenants.map(({ id, erpKey }) => [erpKey, id]))
  erp.tell({ is: "open", ledger, credentials: { ...keys, [visitorKey]: "a visitor" } })
  const { port } = yield* erp.hear((message) => (message.is === "open" ? message : undefined))
  return { erp, address: `127.0.0.1:${port}` }
})

/** The master key of the distributed demo: its processes have to be given one, and make none. */
const masterKeyVariable = () => ({ TRIBUTARY_MASTER_KEY: randomBytes(32).toString("hex") })
const workersCount = 2

const setTheStage = (say: Say, distributed: boolean) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const ledgerFile = join(folder, "erp-ledger.jsonl")
    const tenants = makeTenants()
    const { erp, address } = yield* startErp(ledgerFile, tenants)
    const erpUrl = `http://${address}`
    const shop = yield* vendor<ToShop, FromShop>("vendor-shop.ts")
    yield* say(`The vendors' apps run: a shop (process ${shop.pid}) and an ERP (process ${erp.pid}, ${erpUrl}).`)

    const servers = distributed ? { ...(yield* startServers(folder)), ...masterKeyVariable() } : undefined
    if (distributed) yield* say("The servers run: a real NATS, and stand-ins for EventStoreDB and MongoDB, which speak their protocols.")
    const place = {
      dataFolder: join(folder, "data"),
      masterKeyFile: join(folder, "master.key"),
      egressAllow: address,
      ...(servers === undefined ? {} : { environment: { ...servers, TRIBUTARY_ROLE: "api" } })
    }
    const first = yield* startPlatform({ ...place, port: 0 })
    const { firstKey } = first
    if (firstKey === undefined) return yield* failed("No first key", "The platform printed no admin key at its first start.")
    yield* say(`The platform runs (process ${first.pid}, ${first.url}), started in ${first.startMillis} ms.`)
    const workers = yield* Effect.forEach(servers === undefined ? [] : Array(workersCount).keys(), () =>
      startPlatform({ ...place, port: 0, environment: { ...servers, TRIBUTARY_ROLE: "worker" } })
    )
    if (workers.length > 0) yield* say(`Two workers run beside it (processes ${workers.map(({ pid }) => pid).join(" and ")}).`)

    const client = makeClient({ url: first.url, key: Redacted.make(firstKey) })
    const shops = yield* setUp(client, tenants, erpUrl)
    yield* say(`Two tenants are set up, ${tenants.map(({ id }) => id).join(" and ")}: each with its own signing secret and ERP key.`)
    return { say, tenants, erp, erpUrl, shop, shops, ledgerFile, place, first, workers, firstKey, client } satisfies Stage
  })

interface Moment {
  readonly victim: Platform
  readonly acknowledged: number
  readonly inHand: number
  readonly killedAt: number
}

const inFlightPattern = /^tributary_work_in_flight (\d+)$/mu

/** The one that has most in hand; the only process of the embedded form. */
const busiestOf = ({ first, workers }: Stage): Effect.Effect<Platform> =>
  Effect.promise(async () => {
    const counted = await Promise.all(
      workers.map(async (worker) => {
        const text = await (await fetch(`${worker.url}/metrics`)).text()
        return { worker, inFlight: Number(inFlightPattern.exec(text)?.[1] ?? 0) }
      })
    )
    return counted.sort((left, right) => right.inFlight - left.inFlight)[0]?.worker ?? first
  })

/** Kills the process that runs the flows as soon as enough is acknowledged and enough is under way. */
const killInTheMiddle = (orders: number, stage: Stage): Effect.Effect<Moment, CommandFailed> =>
  Effect.gen(function* () {
    const { erp, shop } = stage
    let acknowledged = 0
    let inHand = 0
    const moment = yield* Effect.callback<Pick<Moment, "acknowledged" | "inHand">>((resume) => {
      const look = () => {
        if (acknowledged >= orders * killAfterShare && inHand >= killAtInHand) resume(Effect.succeed({ acknowledged, inHand }))
      }
      erp.on((message) => {
        if (message.is !== "in hand") return
        inHand = message.count
        look()
      })
      shop.on((message) => {
        if (message.is !== "acknowledged") return
        acknowledged = message.count
        look()
      })
    })
    const victim = yield* busiestOf(stage)
    yield* victim.kill
    return { ...moment, killedAt: Date.now(), victim }
  }).pipe(
    Effect.timeoutOrElse({
      duration: (orders / perSecond) * 1000 + killPatienceMillis,
      orElse: () => Effect.fail(failed("Nothing to interrupt", `While the shop sold, the ERP never had ${killAtInHand} calls at once.`))
    })
  )

/** The shop sends everything; in the middle the platform dies and is started again. */
const sellThroughACrash = (orders: number, stage: Stage) =>
  Effect.gen(function* () {
    const { say, shop, shops, first, place } = stage
    const killing = yield* Effect.forkChild(killInTheMiddle(orders, stage), { startImmediately: true })
    const selling = yield* Effect.forkChild(
      shop.hear((message): ShopReport | undefined => (message.is === "sold" ? message : undefined)),
      { startImmediately: true }
    )
    shop.tell({ is: "sell", shops, orders, perSecond, duplicates })
    yield* say(`The shop sends ${orders} signed orders, ${perSecond} a second, some of them twice, and somebody sends a forged one.`)

    const { acknowledged, inHand, killedAt, victim } = yield* Fiber.join(killing)
    yield* say(styled("red", `kill -9 ${victim.pid}: ${acknowledged} orders were acknowledged, ${inHand} calls were in the ERP's hands.`))
    if (victim === first) {
      const second = yield* startPlatform({ ...place, port: Number(new URL(first.url).port) })
      yield* say(styled("green", `Started again on the same folder (process ${second.pid}) in ${second.startMillis} ms.`))
    } else yield* say("Nobody starts it again: the other worker takes over what it had, once its lease and its calls' time have run out.")
    const crash: Crash = { killedAt, backAt: Date.now(), inHand, restarted: victim === first }

    const sent = yield* Fiber.join(selling)
    yield* say("The shop has every acknowledgement that it wanted. Waiting until the platform is quiet.")
    return { sent, crash }
  })

/** What is left running, for who wants to look around. */
const accessTo = ({ first, firstKey, erpUrl, ledgerFile, place, shops }: Stage) => ({
  url: first.url,
  key: firstKey,
  erpUrl,
  erpKey: visitorKey,
  ledgerFile,
  dataFolder: place.dataFolder,
  hooks: shops.map(({ tenant, url }) => ({ tenant, url }))
})

const keptText = ({ url, key, dataFolder, erpUrl, erpKey, ledgerFile, hooks }: ReturnType<typeof accessTo>): string =>
  [
    "",
    styled("bold", "It is left running until you press Ctrl-C."),
    `  export TRIBUTARY_URL=${url}`,
    `  export TRIBUTARY_API_KEY=${key}`,
    `  export ERP_URL=${erpUrl} ERP_KEY=${erpKey}`,
    `  Reference    ${url}/docs`,
    ...hooks.map(({ tenant, url }) => `  Webhooks     ${url} (${tenant})`),
    `  ERP ledger   ${ledgerFile}`,
    `  Data folder  ${dataFolder}`
  ].join("\n")

const perform = ({ distributed, orders, keep, json }: DemoOptions) =>
  Effect.gen(function* () {
    const began = Date.now()
    const elapsed = () => `${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s`
    const say: Say = (text) => (json ? Effect.void : Effect.suspend(() => Console.log(`${styled("dim", elapsed())}  ${text}`)))

    const stage = yield* setTheStage(say, distributed)
    const { client, tenants } = stage
    const sold = yield* sellThroughACrash(orders, stage)
    const evidence: Evidence = { ...sold, records: yield* untilQuiet(client, tenants, orders), ledger: readLedger(stage.ledgerFile) }
    const example = yield* exampleOf(client, evidence)
    const told: Told = { evidence, proofs: prove(evidence), tenants, example, tookMillis: Date.now() - began }

    const access = accessTo(stage)
    yield* Console.log(json ? JSON.stringify(documentOf(told, keep ? access : undefined), null, 2) : storyOf(told))
    if (keep) {
      if (!json) yield* Console.log(keptText(access))
      return yield* Effect.never
    }
    return told.proofs.every(({ holds }) => holds)
  })

/** False: something was lost, doubled or wrong. Ends every process that it began, and removes its folder. */
export const runDemo = (options: DemoOptions): Effect.Effect<boolean, CommandFailed> => Effect.scoped(perform(options))
