/** What the demo asks the platform and the ERP's ledger once all is over. */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import { isEnded } from "#domain/run.ts"
import type { DeliveryView } from "#projections/deliveries.ts"
import type { RunView } from "#projections/runs.ts"
import type { ProjectionStatus } from "#services/ports/view-server.ts"
import type { Client } from "../cli/client.ts"
import { pages, tenantPath } from "../cli/command.ts"
import type { CommandFailed } from "../cli/failure.ts"
import { follow } from "../cli/follow.ts"
import type { LedgerEntry } from "./messages.ts"
import { type Evidence, interrupted, type TenantRecord } from "./proof.ts"
import type { DemoTenant } from "./setup.ts"
import type { Example, HistoryEvent } from "./story.ts"

/** A worker takes over another's runs once its lease and the time of the calls that it announced have run out. */
const quietTimeoutMillis = 90_000
const pollMillis = 250
const recordsMax = 10_000

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
export const untilQuiet = (client: Client, tenants: ReadonlyArray<DemoTenant>, orders: number) =>
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
      return event === "RunSucceeded" ? "done" : "more"
    }).pipe(Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.void }))
    return history
  })

/** An interrupted run, preferably one whose call was under way. */
export const exampleOf = (client: Client, { crash, records }: Evidence): Effect.Effect<Example | undefined, CommandFailed> =>
  Effect.gen(function* () {
    for (const { tenant, runs } of records) {
      const cut = interrupted(crash, runs)
      const run = cut.find(({ steps }) => steps.some(({ attempts }) => attempts > 1)) ?? cut[0]
      if (run !== undefined) return { tenant, runId: run.id as string, history: yield* historyOf(client, tenant, run.id) }
    }
    return undefined
  })

export const readLedger = (file: string): ReadonlyArray<LedgerEntry> =>
  readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [JSON.parse(line) as LedgerEntry]))
