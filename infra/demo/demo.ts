/** The demo: the main job on real input, in real processes, with `kill -9` in the middle. */
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
import { type DemoTenant, makeTenants, setUp } from "./setup.ts"
import { documentOf, storyOf, type Told } from "./story.ts"

export interface DemoOptions {
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
  readonly first: Platform
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

const setTheStage = (say: Say) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const ledgerFile = join(folder, "erp-ledger.jsonl")
    const tenants = makeTenants()
    const { erp, address } = yield* startErp(ledgerFile, tenants)
    const erpUrl = `http://${address}`
    const shop = yield* vendor<ToShop, FromShop>("vendor-shop.ts")
    yield* say(`The vendors' apps run: a shop (process ${shop.pid}) and an ERP (process ${erp.pid}, ${erpUrl}).`)

    const place = { dataFolder: join(folder, "data"), masterKeyFile: join(folder, "master.key"), egressAllow: address }
    const first = yield* startPlatform({ ...place, port: 0 })
    const { firstKey } = first
    if (firstKey === undefined) return yield* failed("No first key", "The platform printed no admin key at its first start.")
    yield* say(`The platform runs (process ${first.pid}, ${first.url}), started in ${first.startMillis} ms.`)

    const client = makeClient({ url: first.url, key: Redacted.make(firstKey) })
    const shops = yield* setUp(client, tenants, erpUrl)
    yield* say(`Two tenants are set up, ${tenants.map(({ id }) => id).join(" and ")}: each with its own signing secret and ERP key.`)
    return { say, tenants, erp, erpUrl, shop, shops, ledgerFile, place, first, firstKey, client } satisfies Stage
  })

interface Moment {
  readonly acknowledged: number
  readonly inHand: number
  readonly killedAt: number
}

/** Kills the platform as soon as enough is acknowledged and enough is under way. */
const killInTheMiddle = (orders: number, { first, erp, shop }: Stage): Effect.Effect<Moment, CommandFailed> =>
  Effect.gen(function* () {
    let acknowledged = 0
    let inHand = 0
    const moment = yield* Effect.callback<Moment>((resume) => {
      const look = () => {
        if (acknowledged >= orders * killAfterShare && inHand >= killAtInHand)
          resume(Effect.succeed({ acknowledged, inHand, killedAt: Date.now() }))
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
    yield* first.kill
    return moment
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

    const { acknowledged, inHand, killedAt } = yield* Fiber.join(killing)
    yield* say(styled("red", `kill -9 ${first.pid}: ${acknowledged} orders were acknowledged, ${inHand} calls were in the ERP's hands.`))
    const second = yield* startPlatform({ ...place, port: Number(new URL(first.url).port) })
    const crash: Crash = { killedAt, backAt: Date.now(), inHand }
    yield* say(styled("green", `Started again on the same folder (process ${second.pid}) in ${second.startMillis} ms.`))

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

const perform = ({ orders, keep, json }: DemoOptions) =>
  Effect.gen(function* () {
    const began = Date.now()
    const elapsed = () => `${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s`
    const say: Say = (text) => (json ? Effect.void : Effect.suspend(() => Console.log(`${styled("dim", elapsed())}  ${text}`)))

    const stage = yield* setTheStage(say)
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
