/** A run in hand: its state with all that is decided, and what waits to be written with the next append. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type ContentRef, contentRef } from "#domain/content.ts"
import type { Bindings } from "#domain/enablement.ts"
import type { ConnectionId, DeliveryId, RunId } from "#domain/ids.ts"
import type { Actor, Origin } from "#domain/recorded.ts"
import { type Run, type RunCommand, type RunEvent, type RunRejection, run, type StepError } from "#domain/run.ts"
import type { TenantScope } from "#domain/scope.ts"
import type { SettingsChain } from "#domain/settings.ts"
import type { TriggerData } from "./delivery-content.ts"
import type { CompiledFlow } from "./flows.ts"
import type { NewContent } from "./ports/journal.ts"
import type { Part, Transact, TransactError, Transacted } from "./transact.ts"

/** What the expressions of a run read. */
type DriveData = {
  readonly trigger: TriggerData
  readonly steps: Record<string, { output: unknown }>
  readonly run: object
  readonly tenant: object
}

/** How a run's beginning is recorded together with its event. */
export interface Joining {
  /** Gives what became of it; does not come back where the event was not recorded so: the run was never there. */
  readonly record: (part: Part) => Effect.Effect<Transacted<Run, RunEvent>>
  /** Milliseconds of the outbound clock: who waits for the event's acknowledgement does not wait for longer work. */
  readonly by: number
}

/** One run in hand. */
export interface Drive {
  readonly scope: TenantScope
  readonly runId: RunId
  readonly flow: CompiledFlow
  readonly settings: SettingsChain
  readonly origin: Origin
  readonly bindings: Bindings
  readonly triggering: ConnectionId | undefined
  readonly data: DriveData
  /** With everything that is decided, also what is not appended yet. */
  state: Run
  /** Decided and waiting to ride along with the next append. */
  commands: Array<RunCommand>
  contents: Array<NewContent>
  /** Length of the contents' text, so that no append grows too large for the journal. */
  kept: number
  presumeAbsent: boolean
  /** Until the first append. */
  joining: Joining | undefined
  /** Steps of whose last call a probe has just told that it was not carried out; who comes later asks again. */
  readonly absent: Set<string>
  onRecord: (() => void) | undefined
  readonly reserved: Effect.Effect<unknown, TransactError | RunRejection>
}

/** What a run brings along that has just begun. */
export interface Beginning {
  readonly joining: Joining | undefined
  readonly reserved: Drive["reserved"]
  readonly onRecord: () => void
}

/** Content that may wait for the next append, in characters: more is written at once. */
export const keptMax = 1_048_576

export const newDrive = (
  scope: TenantScope,
  actor: Actor,
  start: {
    readonly runId: RunId
    readonly flow: CompiledFlow
    readonly deliveryId: DeliveryId
    readonly trigger: TriggerData
    readonly bindings: Bindings
    readonly connectionId: ConnectionId | undefined
  },
  settings: SettingsChain,
  state: Run,
  beginning?: Beginning
): Drive => ({
  scope,
  runId: start.runId,
  flow: start.flow,
  settings,
  origin: { actor, correlationId: start.deliveryId },
  bindings: start.bindings,
  triggering: start.connectionId,
  data: {
    trigger: start.trigger,
    steps: {},
    run: { id: start.runId, flowId: start.flow.flowId, version: start.flow.version },
    tenant: { key: scope.key }
  },
  state,
  commands: [],
  contents: [],
  kept: 0,
  presumeAbsent: beginning !== undefined,
  joining: beginning?.joining,
  absent: new Set(),
  onRecord: beginning?.onRecord,
  reserved: beginning?.reserved ?? Effect.void
})

/** Decides on the state in hand; it is written with the next flush. */
export const decide = (drive: Drive, command: RunCommand): Effect.Effect<void, RunRejection> => {
  const decided = run.decide(command, drive.state)
  if (Result.isFailure(decided)) return Effect.fail(decided.failure)
  for (const event of decided.success) drive.state = run.evolve(drive.state, event)
  drive.commands.push(command)
  return Effect.void
}

/** Keeps content with the next append; the reference is known at once. */
export const keep = (drive: Drive, step: string, attempt: number, what: "in" | "out", content: unknown): ContentRef => {
  const slot = `${step}.${attempt}.${what}`
  const bytes = JSON.stringify(content)
  drive.contents.push({ slot, bytes })
  drive.kept += bytes.length
  return contentRef(`run-${drive.runId}`, slot)
}

/** The error with its detail kept. */
export const errorOf = (drive: Drive, step: string, attempt: number, error: Omit<StepError, "detail">, detail: unknown): StepError =>
  detail === undefined ? error : { ...error, detail: keep(drive, step, attempt, "out", { error: detail }) }

/** Writes what was decided, in one append. */
export const flushWith = (transact: Transact["Service"]["transact"]) =>
  Effect.fnUntraced(function* (drive: Drive) {
    if (drive.commands.length === 0) return
    const { commands, contents, joining, presumeAbsent, runId, scope } = drive
    drive.commands = []
    drive.contents = []
    drive.kept = 0
    const options = { origin: drive.origin, contents, presumeAbsent }
    const done = yield* joining === undefined
      ? transact(run, scope, runId, commands, options)
      : joining.record({ aggregate: run, id: runId, commands, options })
    drive.presumeAbsent = false
    drive.joining = undefined
    drive.state = done.state
    drive.onRecord?.()
    drive.onRecord = undefined
  })
