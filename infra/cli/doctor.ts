/** `tributary doctor`: looks at an installation, running or stopped, and says what is wrong with it. Changes nothing. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { MasterKey } from "#services/ports/master-key.ts"
import { readSettings } from "../config.ts"
import { makeClient } from "./client.ts"
import { told } from "./command.ts"
import type { Check, Finding, FoundKey } from "./doctor-checks.ts"
import { failed } from "./failure.ts"
import { isDistributed } from "./form.ts"
import { dataFolderOf, findServer, givenKey, type Reach, reach, runningServer } from "./installation.ts"
import { show, status, styled, table } from "./output.ts"

const marks: Readonly<Record<Finding["status"], string>> = { ok: "ok", warning: "warning", failed: "failed", unknown: "unknown" }

const row = ({ check, status: found, detail }: Check): ReadonlyArray<string> => [
  found === "unknown" ? styled("dim", marks[found]) : status(marks[found]),
  check,
  detail
]

const verdict = (checks: ReadonlyArray<Check>): string => {
  const count = (wanted: Finding["status"]) => checks.filter((check) => check.status === wanted).length
  const parts = [`${count("ok")} in order`, `${count("warning")} to look at`, `${count("failed")} wrong`, `${count("unknown")} not checked`]
  return parts.join(", ")
}

interface SystemInfo {
  readonly version: string
  readonly head: string | null
}
interface Projections {
  readonly items: ReadonlyArray<{
    readonly name: string
    readonly head: string | null
    readonly serving: { readonly position: string | null; readonly status: string } | null
  }>
}

/** The master key as a start on this folder would find it. */
const masterKeyOf = (dataFolder: string): Effect.Effect<FoundKey> =>
  Effect.gen(function* () {
    const { layer } = yield* Effect.promise(() => import("#adapters/node/master-key.ts"))
    const settings = yield* readSettings({ dataFolder })
    const given = {
      dataFolder,
      ...(Option.isSome(settings.masterKey) ? { key: settings.masterKey.value } : {}),
      ...(Option.isSome(settings.masterKeyFile) ? { file: settings.masterKeyFile.value } : {})
    }
    const { id, key, where } = yield* Effect.provide(MasterKey, layer(given))
    return { id, key: Redacted.value(key), where }
  }).pipe(Effect.catch((refused) => Effect.succeed({ refused: refused.message })))

/** Null: the environment names no servers, or cannot be understood, which the master key's check says. */
const distributedSettings = (dataFolder: string) =>
  Effect.match(readSettings({ dataFolder }), {
    onFailure: () => null,
    onSuccess: (settings) => (isDistributed(settings) ? settings : null)
  })

interface Depth {
  /** So many of the newest ones are looked at. */
  readonly events: number
  readonly deep: boolean
}

/** A large journal takes minutes: somebody who watches sees where it is. */
const progress = (line: string): void => {
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`)
}

const lookDeep = Effect.fnUntraced(function* (dataFolder: string, key: FoundKey | undefined) {
  const { deepChecks, lookDeep } = yield* Effect.promise(() => import("./doctor-deep.ts"))
  const report = yield* lookDeep(dataFolder, key, progress)
  return { report, checks: deepChecks(report, key, existsSync(join(dataFolder, "views.db"))) }
})
const notDeep: ReadonlyArray<Check> = [
  {
    check: "deep",
    status: "unknown",
    detail: "--deep reads the files of the embedded form. What servers store, their own tools check."
  }
]

/** Of the stores, wherever they are: the drivers of servers are loaded only where there are servers. */
const storeChecks = Effect.fnUntraced(function* (dataFolder: string, { events, deep }: Depth) {
  const { checkFolder, isInstallation, notCheckable } = yield* Effect.promise(() => import("./doctor-checks.ts"))
  const distributed = yield* distributedSettings(dataFolder)
  if (distributed === null) {
    const key = isInstallation(dataFolder) ? yield* masterKeyOf(dataFolder) : undefined
    const checks = checkFolder(dataFolder, events, key)
    const deeply = deep && isInstallation(dataFolder) ? yield* lookDeep(dataFolder, key) : null
    return {
      where: ["data folder", dataFolder],
      checks: deeply === null ? checks : [...checks, ...deeply.checks],
      notCheckable,
      ...(deeply === null ? {} : { deep: deeply.report })
    }
  }
  const { checkServers, notCheckableOfServers } = yield* Effect.promise(() => import("./doctor-servers.ts"))
  // None is made where the file is missing: it would fit nothing.
  const file = Option.getOrUndefined(distributed.masterKeyFile)
  const missing = Option.isNone(distributed.masterKey) && file !== undefined && !existsSync(file)
  const key = missing
    ? { refused: `The master key's file ${file} is missing. Put it there: all processes have the same.` }
    : yield* masterKeyOf(dataFolder)
  const checks = yield* checkServers(distributed.servers, key)
  return {
    where: ["servers", "as TRIBUTARY_JOURNAL, _BUS, _READ_MODELS and _VAULT name them"],
    checks: deep ? [...checks, ...notDeep] : checks,
    notCheckable: notCheckableOfServers
  }
})

const notAsked = (why: string): ReadonlyArray<Check> => [{ check: "server", status: "unknown", detail: why }]

const ask = (flags: Reach) =>
  Effect.gen(function* () {
    const server = yield* findServer(flags)
    const client = makeClient(server)
    const info = yield* client.ask<SystemInfo>("/api/v1/system")
    const { items } = yield* client.ask<Projections>("/api/v1/projections")
    return { url: server.url, info, items }
  })

/** A view this far behind is worth a look: a live one is a few events behind for some milliseconds. */
const behindMax = 10_000
const viewsCheck = ({ items }: Projections): Check => {
  const behind = items.filter(
    ({ head, serving }) => serving === null || serving.status !== "live" || Number(head) - Number(serving.position) > behindMax
  )
  const names = behind.map(({ name }) => name).join(", ")
  return behind.length === 0
    ? { check: "views", status: "ok", detail: `All ${items.length} follow the log.` }
    : { check: "views", status: "warning", detail: `Behind or being built: ${names}. See: tributary projections list` }
}

/** The live server, asked over HTTP. */
const serverChecks = (flags: Reach, dataFolder: string): Effect.Effect<ReadonlyArray<Check>> => {
  const named = Option.isSome(flags.url) || (Option.isNone(flags.data) && (process.env["TRIBUTARY_URL"] ?? "") !== "")
  if (!named && runningServer(dataFolder)?.alive !== true) return Effect.succeed(notAsked("None runs on this folder, so it was not asked."))
  if (Option.isNone(givenKey(flags))) return Effect.succeed(notAsked("It was not asked: give a key with TRIBUTARY_API_KEY or --key."))
  return Effect.match(ask(flags), {
    onFailure: ({ problem }): ReadonlyArray<Check> => [{ check: "server", status: "failed", detail: problem.detail }],
    onSuccess: ({ url, info, items }): ReadonlyArray<Check> => [
      { check: "server", status: "ok", detail: `${url} answers, version ${info.version}, at event ${Number(info.head ?? 0)}.` },
      viewsCheck({ items })
    ]
  })
}

export const doctor = Command.make(
  "doctor",
  {
    ...reach,
    events: Flag.Int("events").pipe(Flag.withDescription("So many of the newest events are checked"), Flag.withDefault(10_000)),
    deep: Flag.Boolean("deep").pipe(
      Flag.withDescription(
        "Reads everything that a data folder holds and finds what reads alone would miss; takes minutes for millions of events"
      ),
      Flag.withDefault(false)
    )
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const dataFolder = dataFolderOf(input)
        const { checkNode } = yield* Effect.promise(() => import("./doctor-checks.ts"))
        const stores = yield* storeChecks(dataFolder, input)
        const checks = [checkNode(), ...stores.checks, ...(yield* serverChecks(input, dataFolder)), ...stores.notCheckable]
        const report = "deep" in stores ? stores.deep : undefined
        yield* show(input.json, { dataFolder, checks, ...(report === undefined ? {} : { deep: report }) }, () =>
          [
            `${styled("dim", "data folder")}  ${stores.where}`,
            "",
            table(["", "CHECK", "FOUND"], checks.map(row)),
            "",
            ...(report === undefined
              ? []
              : [`Looked at ${report.events} events of ${report.streams} streams, one by one, in ${report.seconds} s.`]),
            verdict(checks)
          ].join("\n")
        )
        const wrong = checks.filter((check) => check.status === "failed")
        if (wrong.length > 0)
          return yield* failed("Something is wrong", `${wrong.map(({ check }) => check).join(", ")}: see above. Nothing was changed.`)
      })
    )
).pipe(Command.withDescription("Checks an installation, running or stopped. Changes nothing."))
