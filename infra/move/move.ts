/** Carries a stopped embedded installation to the servers of the distributed form; see docs/decisions/0011-move.md for the protocol. */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import { StoreFailure } from "#adapters/eventstoredb/failure.ts"
import { CarryMismatch } from "#adapters/eventstoredb/move-target.ts"
import { EventDamaged as StoredDamaged } from "#adapters/eventstoredb/recorded-event.ts"
import { StoreRefused } from "#adapters/eventstoredb/refusal.ts"
import { isMongoFailure, reasonOf } from "#adapters/mongodb/failure.ts"
import type { TargetMark } from "#adapters/mongodb/move-target.ts"
import { moveMarkId } from "#adapters/mongodb/vault-database.ts"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import { EventDamaged } from "#adapters/sqlite/event-rows.ts"
import type { MoveSource, SourceCounts } from "#adapters/sqlite/move-source.ts"
import { eventVersions } from "#domain/registry.ts"
import type { ProcessSettings, Servers } from "../config.ts"
import { carryLog } from "./carry.ts"
import { type Compared, compareLog, compareVault } from "./compare.ts"
import { kept, MoveFailed } from "./failure.ts"
import { patiently } from "./patience.ts"
import { counted, Progress } from "./progress.ts"
import { holding, type OpenedServers, openServers, openSource, reaching } from "./stores.ts"

export interface MoveOptions {
  readonly settings: ProcessSettings
  readonly servers: Servers
  /** How many contents and secrets are opened on both sides; everything else is always compared whole. */
  readonly verify: "all" | "sample"
  /** Looks at both sides and changes nothing. */
  readonly dryRun: boolean
  readonly tell: (line: string) => void
}

export interface MoveReport {
  readonly outcome: "would-move" | "would-go-on" | "moved" | "moved-before"
  readonly from: string
  /** Identity of the log that takes over. */
  readonly journalId: string | null
  readonly where: OpenedServers["where"]
  readonly counts: SourceCounts
  /** Null: nothing was compared in this run. */
  readonly compared: Compared | null
  readonly seconds: number
}

/** What there is to do: all of it, the rest, the very last step, or nothing. */
type Plan =
  | { readonly is: "begin" }
  | { readonly is: "go-on"; readonly mark: TargetMark }
  | { readonly is: "finish"; readonly mark: TargetMark }
  | { readonly is: "done"; readonly journalId: string }

const refuse = (reason: string): MoveFailed => new MoveFailed({ reason })

const planOf = async (source: MoveSource, { vault, target, where }: OpenedServers): Promise<Plan> => {
  const here = source.mark
  const there = await vault.state()
  if (there.is === "vault") {
    if (here?.finished === true && here.journalId === there.journalId) return { is: "done", journalId: there.journalId }
    throw refuse(`${where.vault} holds the vault of the journal ${there.journalId}. Nothing was changed. Give an empty database.`)
  }
  if (there.is === "other") throw refuse(`${where.vault} holds something, but no vault. Nothing was changed. Give an empty database.`)
  if (there.is === "unfinished") {
    if (here?.journalId === there.mark.journalId) return { is: here.finished ? "finish" : "go-on", mark: there.mark }
    const whose =
      there.mark.from === source.journalId ? "this installation, which was given up with --back" : `the installation ${there.mark.from}`
    throw refuse(
      `${where.vault} holds an unfinished move of ${whose}. Nothing was changed. Empty it and the journal's server, or give others.`
    )
  }
  if (here?.finished === true)
    throw refuse(`This installation was moved to ${here.where}. Nothing was changed. To take this folder back first: tributary move --back`)
  if ((await target.identity()) !== null)
    throw refuse(`${where.journal} holds a journal or events already. Nothing was changed. Give an empty one.`)
  return { is: "begin" }
}

/** From here on nobody starts on the folder; and nobody starts on the servers before the end. */
const begin = async (source: MoveSource, { vault, where }: OpenedServers): Promise<TargetMark> => {
  // A log of its own, with positions of its own: tokens that name positions of the old one are refused by it (R22).
  const journalId = `${source.journalId}-${randomBytes(4).toString("hex")}`
  source.setMark({ journalId, where: `${where.journal}, ${where.vault}`, finished: false })
  const mark: TargetMark = { _id: moveMarkId, from: source.journalId, journalId, startedAt: Date.now() }
  if (!(await vault.claim(mark))) throw refuse(`Another move into ${where.vault} has just begun. ${kept}`)
  return mark
}

const carry = async (
  source: MoveSource,
  { vault, target }: OpenedServers,
  mark: TargetMark,
  counts: SourceCounts,
  tell: MoveOptions["tell"]
) => {
  await patiently(() => target.claim(mark.journalId))
  await patiently(() => target.storeTypes(source.eventTypes(), eventVersions))
  const keys = await vault.carryKeys(source.keys(), mark.startedAt)
  const secrets = await vault.carrySecrets(source.secrets())
  tell(`Carried ${counted(keys)} keys and ${counted(secrets)} secrets.`)
  const startedAt = Date.now()
  let begun = 0
  await carryLog(source, target, mark.startedAt, (behind) => {
    begun = source.eventsUpTo(behind)
    if (behind > 0) tell(`Going on behind event ${counted(begun)}.`)
    return new Progress(tell, "Carrying events", counts.events, begun)
  })
  const seconds = (Date.now() - startedAt) / 1_000
  tell(`Carried ${counted(counts.events)} events (${counted(Math.round((counts.events - begun) / Math.max(seconds, 0.001)))} per second).`)
}

const compare = async (
  source: MoveSource,
  { vault, driver, stores }: OpenedServers,
  counts: SourceCounts,
  options: MoveOptions
): Promise<Compared> => {
  const all = options.verify === "all"
  const progress = new Progress(options.tell, "Comparing events", counts.events, 0)
  const log = await compareLog(source, driver.reads, stores, { all, appends: counts.appends, progress })
  if (log.events !== counts.events || log.streams !== counts.streams || log.retired !== counts.retired)
    throw refuse(`${log.events} events in ${log.streams} streams are there instead of ${counts.events} in ${counts.streams}. ${kept}`)
  return { ...log, ...(await compareVault(source, vault, { all, keys: counts.keys, secrets: counts.secrets })) }
}

/** In this order: at no moment are both sides willing to start. */
const finish = async (source: MoveSource, { vault, where }: OpenedServers, { journalId }: TargetMark): Promise<void> => {
  source.setMark({ journalId, where: `${where.journal}, ${where.vault}`, finished: true })
  if (!(await vault.finish(journalId))) throw refuse(`${where.vault} became the vault of another installation meanwhile. ${kept}`)
}

const run = async (source: MoveSource, servers: OpenedServers, options: MoveOptions): Promise<MoveReport> => {
  const startedAt = Date.now()
  const plan = await planOf(source, servers)
  const counts = source.counts()
  const report = (outcome: MoveReport["outcome"], journalId: string | null, compared: Compared | null = null): MoveReport => {
    const seconds = (Date.now() - startedAt) / 1_000
    return { outcome, from: source.journalId, journalId, where: servers.where, counts, compared, seconds }
  }
  if (plan.is === "done") return report("moved-before", plan.journalId)
  if (options.dryRun) return plan.is === "begin" ? report("would-move", null) : report("would-go-on", plan.mark.journalId)
  if (plan.is === "finish") {
    await finish(source, servers, plan.mark)
    return report("moved", plan.mark.journalId)
  }
  const mark = plan.is === "begin" ? await begin(source, servers) : plan.mark
  await carry(source, servers, mark, counts, options.tell)
  const compared = await compare(source, servers, counts, options)
  await patiently(() => servers.target.checkpointWork(source.openWork()))
  await finish(source, servers, mark)
  return report("moved", mark.journalId, compared)
}

/** What is no failure of a store, and no finding, is a defect. */
const failureOf = (cause: unknown): MoveFailed | null => {
  if (cause instanceof MoveFailed) return cause
  if (cause instanceof StoreFailure) return new MoveFailed({ reason: `The move was interrupted: ${cause.failure.reason}. ${kept}`, cause })
  if (cause instanceof StoreRefused) return new MoveFailed({ reason: cause.message, cause })
  if (cause instanceof CarryMismatch || cause instanceof EventDamaged || cause instanceof StoredDamaged)
    return new MoveFailed({ reason: `The move was stopped: ${cause.message} ${kept}`, cause })
  if (isMongoFailure(cause)) return new MoveFailed({ reason: `The move was interrupted: ${reasonOf(cause)}. ${kept}`, cause })
  if (cause instanceof SealingFailed) return new MoveFailed({ reason: `The move was interrupted: ${cause.message}. ${kept}`, cause })
  return null
}

/** Ends when everything was carried and compared and the other side may start; or with the reason why not. */
export const move = (options: MoveOptions): Effect.Effect<MoveReport, MoveFailed> =>
  Effect.gen(function* () {
    const source = yield* openSource
    const servers = yield* Effect.provide(openServers(options.servers), reaching(options.servers))
    const attempt = Effect.tryPromise({ try: () => run(source, servers, options), catch: (cause) => cause })
    return yield* Effect.catch(attempt, (cause) => {
      const failure = failureOf(cause)
      return failure === null ? Effect.die(cause) : Effect.fail(failure)
    })
  }).pipe(
    Effect.provide(holding(options.settings)),
    Effect.scoped,
    Effect.mapError((cause) => (cause instanceof MoveFailed ? cause : new MoveFailed({ reason: cause.message, cause })))
  )

/** The folder may be started again. True: it had been moved, and what happened on the servers since is not in it. */
export const back = (settings: ProcessSettings): Effect.Effect<{ readonly where: string; readonly finished: boolean }, MoveFailed> =>
  Effect.gen(function* () {
    const source = yield* openSource
    const { mark } = source
    if (mark === null) return yield* refuse(`${settings.dataFolder} was not moved, and no move of it has begun. Nothing was done.`)
    source.setMark(null)
    return { where: mark.where, finished: mark.finished }
  }).pipe(
    Effect.provide(holding(settings)),
    Effect.scoped,
    Effect.mapError((cause) => (cause instanceof MoveFailed ? cause : new MoveFailed({ reason: cause.message, cause })))
  )
