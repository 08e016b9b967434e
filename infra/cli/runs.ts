/** `tributary runs`: what ran for a tenant, step by step; trying again, cancelling, and following it live. */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { ErrorView, RunView, StepView } from "#projections/runs.ts"
import type { Client } from "./client.ts"
import { limit, moreNote, orUndefined, type Page, pages, serverCommand, tenant, tenantPath, text } from "./command.ts"
import { follow } from "./follow.ts"
import { duration, fields, plain, show, status, styled, table, time } from "./output.ts"

const pathOf = (tenantId: string, runId?: string, rest = "") =>
  tenantPath(tenantId, `/executions${runId === undefined ? "" : `/${encodeURIComponent(runId)}${rest}`}`)
const runId = text("run", "The run's id")

const attempts = ({ steps }: RunView): string => String(steps.reduce((sum, step) => sum + step.attempts, 0))
const runRow = (run: RunView): ReadonlyArray<string> => [
  run.id,
  status(run.status),
  run.flowId,
  `v${run.version}`,
  time(run.startedAt),
  duration(run.durationMillis),
  attempts(run),
  plain(run.error?.message ?? run.reason ?? "")
]
const runTable = (page: Page<RunView>): string =>
  page.items.length === 0
    ? "No runs."
    : table(["RUN", "STATUS", "FLOW", "VERSION", "STARTED", "TOOK", "ATTEMPTS", ""], page.items.map(runRow)) + moreNote(page)

const errorText = ({ code, message }: ErrorView): string => `${plain(message)} ${styled("dim", code)}`
const stepRow = (step: StepView): ReadonlyArray<string> => [
  step.id,
  step.kind,
  status(step.status),
  String(step.attempts),
  duration(step.durationMillis),
  step.error === undefined ? "" : `${step.status === "succeeded" ? "before: " : ""}${errorText(step.error)}`
]

const optionalField = (name: string, value: string | undefined): ReadonlyArray<readonly [string, string]> =>
  value === undefined ? [] : [[name, value]]

export const runText = (run: RunView): string =>
  [
    fields([
      ["run", run.id],
      ["status", status(run.status)],
      ["flow", `${run.flowId} v${run.version}`],
      ["event", run.deliveryId],
      ["started", time(run.startedAt)],
      ...optionalField("finished", run.finishedAt === undefined ? undefined : `${time(run.finishedAt)} (${duration(run.durationMillis)})`),
      ...optionalField("failed of", run.error === undefined ? undefined : errorText(run.error)),
      ...optionalField("because", run.reason === undefined ? undefined : plain(run.reason)),
      ...optionalField("repeats", run.causedBy)
    ]),
    "",
    table(["STEP", "KIND", "STATUS", "ATTEMPTS", "TOOK", "ERROR"], run.steps.map(stepRow))
  ].join("\n")

const list = serverCommand(
  "list",
  "The runs of a tenant, the newest first.",
  {
    tenant,
    status: Flag.String("status").pipe(Flag.withDescription("Such as failed, waiting, succeeded"), Flag.optional),
    flow: Flag.String("flow").pipe(Flag.withDescription("Of this flow alone"), Flag.optional),
    event: Flag.String("event").pipe(Flag.withDescription("Those that this event set off"), Flag.optional),
    limit
  },
  (client, input) => {
    const query = { status: orUndefined(input.status), workflow: orUndefined(input.flow), delivery: orUndefined(input.event) }
    return Effect.flatMap(pages<RunView>(client, pathOf(input.tenant), query, input.limit), (page) => show(input.json, page, runTable))
  }
)

/** Every attempt of a step with what went through it, opened by permission. */
interface StepContent {
  readonly step: string
  readonly attempts: ReadonlyArray<
    { readonly attempt: number; readonly status: string; readonly startedAt: number } & Partial<Readonly<Record<Part, unknown>>>
  >
}
const parts = ["input", "request", "response", "output", "error"] as const
type Part = (typeof parts)[number]

const indented = (value: unknown): string =>
  JSON.stringify(value, null, 2)
    .split("\n")
    .map((line) => `    ${plain(line)}`)
    .join("\n")
const contentText = ({ step, attempts }: StepContent): string =>
  attempts
    .flatMap((attempt) => [
      `${styled("bold", `${step}, attempt ${attempt.attempt}`)}  ${status(attempt.status)}  ${time(attempt.startedAt)}`,
      ...parts.flatMap((part) => (attempt[part] === undefined || attempt[part] === null ? [] : [`  ${part}`, indented(attempt[part])]))
    ])
    .join("\n")

const contents = (client: Client, tenantId: string, run: RunView) =>
  Effect.forEach(
    run.steps.filter((step) => step.attempts > 0),
    (step) => client.ask<StepContent>(pathOf(tenantId, run.id, `/steps/${step.id}`))
  )

const detail = serverCommand(
  "show",
  "One run with its steps.",
  {
    run: runId,
    tenant,
    content: Flag.Boolean("content").pipe(Flag.withDescription("Also what went through each step"), Flag.withDefault(false))
  },
  (client, input) =>
    Effect.gen(function* () {
      const run = yield* client.ask<RunView>(pathOf(input.tenant, input.run))
      if (!input.content) return yield* show(input.json, run, runText)
      const opened = yield* contents(client, input.tenant, run)
      yield* show(input.json, { ...run, contents: opened }, () => [runText(run), ...opened.map(contentText)].join("\n\n"))
    })
)

interface Changed {
  readonly id: string
  readonly status: string
  readonly revision: number
}

const retry = serverCommand("retry", "Goes on from the failed steps; what succeeded is kept.", { run: runId, tenant }, (client, input) =>
  Effect.flatMap(client.ask<Changed>(pathOf(input.tenant, input.run, "/retry"), { method: "POST" }), (run) =>
    show(input.json, run, () => `Run ${run.id} goes on; it is ${status(run.status)}.`)
  )
)

const cancel = serverCommand(
  "cancel",
  "Cancels a run; what was done stays done.",
  { run: runId, tenant, reason: Flag.String("reason").pipe(Flag.withDescription("Kept with the run"), Flag.optional) },
  (client, input) => {
    const reason = orUndefined(input.reason)
    const body = reason === undefined ? {} : { reason }
    return Effect.flatMap(client.ask<Changed>(pathOf(input.tenant, input.run, "/cancel"), { method: "POST", body }), (run) =>
      show(input.json, run, () => `Run ${run.id} is ${status(run.status)}.`)
    )
  }
)

interface RunEventData {
  readonly executionId?: string
  readonly revision?: number
  readonly at?: number
  readonly fields?: Readonly<Record<string, unknown>>
}
const endings: ReadonlySet<string> = new Set(["RunSucceeded", "RunFailed", "RunCancelled", "RunQuarantined"])

const eventLine = (event: string, { at, executionId, fields }: RunEventData): string => {
  const error = fields?.["error"] as Partial<ErrorView> | undefined
  const facts = [
    fields?.["flowId"],
    fields?.["step"],
    fields?.["attempt"] === undefined ? undefined : `attempt ${fields["attempt"]}`,
    error?.message
  ].filter((fact) => fact !== undefined)
  return `${styled("dim", time(at))}  ${executionId ?? ""}  ${event}  ${plain(facts.join(", "))}`
}

/** Where a tail begins, so that a connection lost before the first event skips none; unknown to who may not see it. */
const newestPosition = (client: Client) =>
  client.ask<{ readonly head: string | null }>("/api/v1/system").pipe(
    Effect.map(({ head }) => head ?? undefined),
    Effect.catch(() => Effect.undefined)
  )

const tail = serverCommand(
  "tail",
  "Follows runs live, over lost connections. Of one run: from its first event until it ends.",
  {
    run: Argument.String("run").pipe(Argument.withDescription("One run; all of the tenant when left out"), Argument.optional),
    tenant,
    after: Flag.String("after").pipe(Flag.withDescription("Resume after this position"), Flag.optional)
  },
  (client, input) =>
    Effect.gen(function* () {
      const one = orUndefined(input.run)
      // Says at once what is wrong with the key, the tenant or the run, instead of trying for ever.
      yield* client.ask(one === undefined ? tenantPath(input.tenant, "") : pathOf(input.tenant, one))
      const path = one === undefined ? `${pathOf(input.tenant)}/stream` : pathOf(input.tenant, one, "/stream")
      const after = orUndefined(input.after) ?? (one === undefined ? yield* newestPosition(client) : undefined)
      yield* follow(client, path, after, ({ id, event, data }) => {
        const found = JSON.parse(data) as RunEventData
        if (found.executionId === undefined) return "more"
        console.log(input.json ? JSON.stringify({ id, event, ...found }) : eventLine(event, found))
        return one !== undefined && endings.has(event) ? "done" : "more"
      })
    })
)

export const runs = Command.make("runs").pipe(
  Command.withDescription("Runs: each execution of a flow for a tenant."),
  Command.withSubcommands([list, detail, retry, cancel, tail])
)
