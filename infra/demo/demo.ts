/** The demo: the main job on real input, in real processes, with `kill -9` in the middle. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Console, Effect, Fiber, Redacted, type Scope } from "effect"
import { isEnded } from "#domain/run.ts"
import type { DeliveryView } from "#projections/deliveries.ts"
import type { RunView } from "#projections/runs.ts"
import type { ProjectionStatus } from "#services/ports/view-server.ts"
import { type Client, makeClient } from "../cli/client.ts"
import { pages, tenantPath } from "../cli/command.ts"
import { type CommandFailed, failed } from "../cli/failure.ts"
import { follow } from "../cli/follow.ts"
import { styled } from "../cli/output.ts"
import type { FromErp, FromShop, LedgerEntry, ToErp, ToShop } from "./messages.ts"
import { type Platform, type PlatformOptions, platform, vendor } from "./processes.ts"
import { type Crash, type Evidence, interrupted, prove, type TenantRecord } from "./proof.ts"
import { type DemoTenant, makeTenants, setUp } from "./setup.ts"
import { documentOf, type HistoryEvent, storyOf, type Told } from "./story.ts"

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
const quietTimeoutMillis = 20_000
const pollMillis = 250
const recordsMax = 10_000

/** A folder that is gone afterwards. */
const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tributary-demo-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const startPlatform = (options: PlatformOptions): Effect.Effect<Platform, CommandFailed, Scope.Scope> =>
  Effect.acquireRelease(platform(options), ({ stop }) => stop)

const recordOf = (client: Client, { id }: DemoTenant): Effect.Effect<TenantRecord, CommandFailed> => {
  const all = <Item>(rest: string) => Effect.map(pages<Item>(client, tenantPath(id, rest), {}, recordsMax), ({ items }) => items)
  return Effect.all({ tenant: Effect.succeed(id), deliveries: all<DeliveryView>("/events"), runs: all<RunView>("/executions") })
}

/** Every view has seen the newest event. */
const isFollowed = (client: Client) =>
  Effect.map(client.ask<{ readonly items: ReadonlyArray<ProjectionStatus> }>("/api/v1/projections"), ({ items }) =>
    items.every(({ serving, head }) => serving?.position === head)
  )

/** Until every order has a run, every run has ended and the views show it, or for as long as one may wait. */
const untilQuiet = (client: Client, tenants: ReadonlyArray<DemoTenant>, orders: number) =>
  Effect.gen(function* () {
    for (let waited = 0; ; waited += pollMillis) {
      const followed = yield* isFollowed(client)
      const records = yield* Effect.forEach(tenants, (tenant) => recordOf(client, tenant))
      const runs = records.flatMap((record) => record.runs)
      const quiet = followed && runs.length >= orders && runs.every(({ status }) => isEnded(status))
      if (quiet || waited >= quietTimeoutMillis) return records
      yield* Effect.sleep(pollMillis)
    }
  })

/** The events of one run as they were recorded. */
const historyOf = (client: Client, tenantId: string, runId: string) =>
  Effect.gen(function* () {
    const history: Array<HistoryEvent> = []
    yield* follow(client, tenantPath(tenantId, `/executions/${runId}/stream`), undefined, ({ event, data }) => {
      const found = JSON.parse(data) as { readonly at?: number; readonly fields?: Readonly<Record<string, unknown>> }
      if (found.at !== undefined) history.push({ event, at: found.at, fields: found.fields ?? {} })
      return Effect.succeed(event === "RunSucceeded" ? "done" : "more")
    }).pipe(Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.void }))
    return history
  })

/** An interrupted run whose call had reached the ERP: the most telling one there is. */
const telling = (client: Client, { crash, records }: Evidence) =>
  Effect.gen(function* () {
    for (const { tenant, runs } of records) {
      const cut = interrupted(crash, runs)
      const run = cut.find(({ steps }) => steps.some(({ attempts }) => attempts > 1)) ?? cut[0]
      if (run !== undefined) return { tenant, runId: run.id as string, history: yield* historyOf(client, tenant, run.id) }
    }
    return undefined
  })

const readLedger = (file: string): ReadonlyArray<LedgerEntry> =>
  readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [JSON.parse(line) as LedgerEntry]))

const perform = (options: DemoOptions) =>
  Effect.gen(function* () {
    const began = Date.now()
    const say = (text: string) =>
      options.json ? Effect.void : Console.log(`${styled("dim", `${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s`)}  ${text}`)
    const folder = yield* temporaryFolder
    const ledgerFile = join(folder, "erp-ledger.jsonl")
    const tenants = makeTenants()

    const erp = yield* vendor<ToErp, FromErp>("vendor-erp.ts")
    const shop = yield* vendor<ToShop, FromShop>("vendor-shop.ts")
    erp.tell({
      is: "open",
      ledger: ledgerFile,
      credentials: { ...Object.fromEntries(tenants.map(({ id, erpKey }) => [erpKey, id])), [visitorKey]: "a visitor" }
    })
    const { port: erpPort } = yield* erp.hear((message) => (message.is === "open" ? message : undefined))
    const erpUrl = `http://127.0.0.1:${erpPort}`
    yield* say(`The vendors' apps run: a shop (process ${shop.pid}) and an ERP (process ${erp.pid}, ${erpUrl}).`)

    const place = { dataFolder: join(folder, "data"), masterKeyFile: join(folder, "master.key"), egressAllow: `127.0.0.1:${erpPort}` }
    const first = yield* startPlatform({ ...place, port: 0 })
    if (first.firstKey === undefined) return yield* failed("No first key", "The platform printed no admin key at its first start.")
    const client = makeClient({ url: first.url, key: Redacted.make(first.firstKey) })
    yield* say(`The platform runs (process ${first.pid}, ${first.url}), started in ${first.startMillis} ms.`)
    const shops = yield* setUp(client, tenants, erpUrl)
    yield* say(`Two tenants are set up, ${tenants.map(({ id }) => id).join(" and ")}: each with its own signing secret and ERP key.`)

    const crashed = yield* Effect.forkChild(crashInTheMiddle(options.orders, first, erp, shop))
    const selling = yield* Effect.forkChild(
      shop.hear((message) => (message.is === "sold" ? message : undefined)),
      { startImmediately: true }
    )
    yield* Effect.yieldNow
    shop.tell({ is: "sell", shops, orders: options.orders, perSecond, duplicates })
    yield* say(
      `The shop sends ${options.orders} signed orders, ${perSecond} a second, some of them twice, and somebody sends a forged one.`
    )

    const { acknowledged, inHand, killedAt } = yield* Fiber.join(crashed)
    yield* say(styled("red", `kill -9 ${first.pid}: ${acknowledged} orders were acknowledged, ${inHand} calls were in the ERP's hands.`))
    const second = yield* startPlatform({ ...place, port: Number(new URL(first.url).port) })
    const crash: Crash = { killedAt, backAt: Date.now(), inHand }
    yield* say(styled("green", `Started again on the same folder (process ${second.pid}) in ${second.startMillis} ms.`))

    const sent = yield* Fiber.join(selling)
    yield* say("The shop has every acknowledgement that it wanted. Waiting until the platform is quiet.")
    const records = yield* untilQuiet(client, tenants, options.orders)
    const evidence: Evidence = { sent, records, ledger: readLedger(ledgerFile), crash }
    const told: Told = {
      evidence,
      proofs: prove(evidence),
      tenants,
      example: yield* telling(client, evidence),
      tookMillis: Date.now() - began
    }
    const access = {
      url: first.url,
      key: first.firstKey,
      dataFolder: place.dataFolder,
      erpUrl,
      ledgerFile,
      hooks: shops.map(({ tenant, url }) => ({ tenant, url }))
    }
    yield* Console.log(options.json ? JSON.stringify(documentOf(told, options.keep ? access : undefined), null, 2) : storyOf(told))
    if (options.keep) {
      if (!options.json) yield* Console.log(keptText(access))
      yield* Effect.never
    }
    return told.proofs.every(({ holds }) => holds)
  })

/** Kills the platform as soon as enough is acknowledged and enough is under way. */
const crashInTheMiddle = (
  orders: number,
  running: Platform,
  erp: { readonly on: (listener: (message: FromErp) => void) => void },
  shop: { readonly on: (listener: (message: FromShop) => void) => void }
) =>
  Effect.gen(function* () {
    let acknowledged = 0
    let inHand = 0
    const now = yield* Effect.callback<{ readonly acknowledged: number; readonly inHand: number; readonly killedAt: number }>((resume) => {
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
    yield* running.kill
    return now
  }).pipe(
    Effect.timeoutOrElse({
      duration: quietTimeoutMillis,
      orElse: () =>
        Effect.fail(
          failed("Nothing to interrupt", `Within ${quietTimeoutMillis / 1000} s the ERP never had ${killAtInHand} calls at once.`)
        )
    })
  )

interface Access {
  readonly url: string
  readonly key: string
  readonly dataFolder: string
  readonly erpUrl: string
  readonly ledgerFile: string
  readonly hooks: ReadonlyArray<{ readonly tenant: string; readonly url: string }>
}

const keptText = ({ url, key, dataFolder, erpUrl, ledgerFile, hooks }: Access): string =>
  [
    "",
    styled("bold", "It is left running until you press Ctrl-C."),
    `  export TRIBUTARY_URL=${url}`,
    `  export TRIBUTARY_API_KEY=${key}`,
    `  export ERP_URL=${erpUrl} ERP_KEY=${visitorKey}`,
    `  Reference    ${url}/docs`,
    ...hooks.map(({ tenant, url }) => `  Webhooks     ${url} (${tenant})`),
    `  ERP ledger   ${ledgerFile}`,
    `  Data folder  ${dataFolder}`
  ].join("\n")

/** False: something was lost, doubled or wrong. Ends every process that it began, and removes its folder. */
export const runDemo = (options: DemoOptions): Effect.Effect<boolean, CommandFailed> => Effect.scoped(perform(options))
