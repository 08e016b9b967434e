/** The story that the demo prints: what arrived, what ran, what was retried, what the crash cut off, and whether the books agree. */
import { duration, fields, styled, table } from "../cli/output.ts"
import { bookings, type Crash, countOf, type Evidence, interrupted, type Proof, retried, unrouted } from "./proof.ts"
import type { DemoTenant } from "./setup.ts"

export interface HistoryEvent {
  readonly event: string
  readonly at: number
  readonly fields: Readonly<Record<string, unknown>>
}
/** One interrupted run as it was recorded. */
export interface Example {
  readonly tenant: string
  readonly runId: string
  readonly history: ReadonlyArray<HistoryEvent>
}
export interface Told {
  readonly evidence: Evidence
  readonly proofs: ReadonlyArray<Proof>
  readonly tenants: ReadonlyArray<DemoTenant>
  readonly example: Example | undefined
  readonly tookMillis: number
}

const chapter = (title: string, ...body: ReadonlyArray<string>): string =>
  ["", styled("bold", title), ...body.flatMap((text) => text.split("\n")).map((line) => (line === "" ? "" : `  ${line}`))].join("\n")

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

const arrived = ({ sent, records }: Evidence): string => {
  const calls = sent.orders.reduce((sum, { tries }) => sum + tries, 0)
  const again = sent.orders.filter(({ tries }) => tries > 1)
  const size = sent.orders.reduce((sum, { bytes }) => sum + bytes, 0) / Math.max(1, sent.orders.length)
  const repeats = records.flatMap(({ deliveries }) => deliveries).reduce((sum, delivery) => sum + delivery.repeats, 0)
  return chapter(
    "What arrived",
    fields([
      [
        "orders",
        `${sent.orders.length}, about ${(size / 1024).toFixed(1)} KB each, signed with HMAC-SHA256; all are on disk before they are acknowledged`
      ],
      ["calls", `${calls} for them: ${plural(again.length, "order")} had to be sent more than once, as nobody answered during the crash`],
      [
        "duplicates",
        `${sent.duplicates.length} sent once more on purpose; ${plural(repeats, "repeat")} recognised by the shop's id, none ran twice`
      ],
      ["forged", `1, answered ${sent.forged.status ?? "nothing"}: ${sent.forged.said}`]
    ])
  )
}

/** Enough to tell the keys apart, and nothing of their secret part. */
const masked = (key: string): string => `${key.slice(0, key.indexOf("-"))}-…`

const ran = ({ records, ledger }: Evidence, tenants: ReadonlyArray<DemoTenant>): string =>
  chapter(
    "What ran, and with whose credentials",
    table(
      ["TENANT", "EVENTS", "RUNS", "SUCCEEDED", "BOOKED BY THE ERP", "UNDER THE KEY"],
      records.map(({ tenant, deliveries, runs }) => [
        tenant,
        String(deliveries.length),
        String(runs.length),
        String(runs.filter(({ status }) => status === "succeeded").length),
        String(bookings(ledger).filter((entry) => entry.tenant === tenant).length),
        masked(tenants.find(({ id }) => id === tenant)?.erpKey ?? "-")
      ])
    )
  )

const busy = ({ records, ledger }: Evidence): string => {
  const again = retried(records.flatMap(({ runs }) => runs))
  const count = (status: number) => ledger.filter((entry) => entry.kind === "busy" && entry.status === status).length
  return chapter(
    "What was retried",
    `The ERP was busy ${plural(count(429) + count(503), "time")}: ${count(429)} × 429 with Retry-After, ${count(503)} × 503.`,
    `${plural(again.length, "run")} needed more than one attempt; each attempt of a step carries the same idempotency key.`
  )
}

const shown: Readonly<Record<string, (fields: HistoryEvent["fields"]) => string>> = {
  RunStarted: () => "the run starts",
  StepStarted: ({ step, attempt }) => `attempt ${attempt} of step ${step} is announced`,
  StepSucceeded: ({ step, attempt }) => `step ${step} has succeeded (attempt ${attempt})`,
  StepFailed: ({ step, attempt, error }) =>
    `attempt ${attempt} of step ${step} failed: ${(error as { message?: string } | undefined)?.message ?? ""}`,
  RunResumed: () => "the next process finds the run open and takes it up",
  RunSucceeded: () => "the run has succeeded"
}

const timeline = ({ tenant, runId, history }: Example, { crash }: Evidence): string => {
  const began = history[0]?.at ?? crash.killedAt
  const lines = [
    ...history.map(({ event, at, fields }) => ({ at, event, text: shown[event]?.(fields) ?? "" })),
    { at: crash.killedAt, event: styled("red", "kill -9"), text: styled("red", "the process is gone") }
  ].sort((left, right) => left.at - right.at)
  return [
    `Run ${runId} of ${tenant}:`,
    table(
      ["", "RECORDED", ""],
      lines.map(({ at, event, text }) => [`${at - began} ms`.padStart(9), event, text])
    )
  ].join("\n")
}

const absence = ({ restarted, backAt, killedAt }: Crash): string =>
  restarted ? `The platform was away for ${duration(backAt - killedAt)}.` : "The platform went on taking orders meanwhile."

const cutOff = (evidence: Evidence, example: Example | undefined): string => {
  const { records, ledger, crash } = evidence
  const cut = interrupted(
    crash,
    records.flatMap(({ runs }) => runs)
  )
  const waiting = records.flatMap((record) => unrouted(crash, record))
  return chapter(
    "What the crash cut off, and how it went on",
    `${plural(cut.length, "run was", "runs were")} under way; ${plural(waiting.length, "event was", "events were")} on disk and not routed yet. ${absence(crash)}`,
    `The ERP had booked ${plural(countOf(ledger, "unheard"), "order")} whose answer nobody heard. ${plural(countOf(ledger, "repeated"), "call was", "calls were")} repeated under the same idempotency key, and booked nothing again.`,
    ...(example === undefined ? [] : ["", timeline(example, evidence)])
  )
}

const books = (proofs: ReadonlyArray<Proof>): string =>
  chapter(
    "Do the books agree?",
    table(
      ["", "", ""],
      proofs.map(({ claim, holds, found }) => [holds ? styled("green", "yes") : styled("red", "NO"), claim, styled("dim", found)])
    )
      .split("\n")
      .slice(1)
      .join("\n")
  )

const lastWord = ({ proofs, tookMillis }: Told): string =>
  proofs.every(({ holds }) => holds)
    ? `\n${styled("green", "Nothing was lost, and nothing was done twice.")} ${styled("dim", `It took ${duration(tookMillis)}.`)}`
    : `\n${styled("red", "Something is wrong: see the lines marked NO.")}`

export const storyOf = (told: Told): string =>
  [
    arrived(told.evidence),
    ran(told.evidence, told.tenants),
    busy(told.evidence),
    cutOff(told.evidence, told.example),
    books(told.proofs),
    lastWord(told)
  ].join("\n")

/** The same for a program. */
export const documentOf = ({ evidence, proofs, example, tookMillis }: Told, access: object | undefined) => {
  const { sent, records, ledger, crash } = evidence
  const runs = records.flatMap((record) => record.runs)
  return {
    ok: proofs.every(({ holds }) => holds),
    tookMillis,
    proofs,
    shop: sent,
    tenants: records.map(({ tenant, deliveries, runs }) => ({ tenant, events: deliveries.length, runs: runs.length })),
    retried: retried(runs).length,
    crash: { ...crash, interrupted: interrupted(crash, runs).map(({ id }) => id) },
    ledger: {
      booked: bookings(ledger).length,
      busy: countOf(ledger, "busy"),
      repeated: countOf(ledger, "repeated"),
      unheard: countOf(ledger, "unheard")
    },
    example,
    ...(access === undefined ? {} : { access })
  }
}
