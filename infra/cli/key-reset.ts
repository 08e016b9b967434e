/** A new admin key for a stopped installation whose keys are lost: made in the data folder itself, by who may read it. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { holderOf } from "#adapters/sqlite/data-folder.ts"
import type { Origin } from "#domain/recorded.ts"
import { ApiKeys, type IssuedApiKey } from "#services/api-keys.ts"
import { Spaces } from "#services/spaces.ts"
import { readSettings } from "../config.ts"
import { foundation } from "../embedded.ts"
import { type CommandFailed, failed } from "./failure.ts"

const origin: Origin = { actor: { kind: "cli", id: "keys reset" } }
const newKey = { role: "platform-admin", label: "Made by keys reset" } as const

/** The reset is recorded like any other change: the audit shows when it was done. */
const issue = (revokeLost: boolean) =>
  Effect.gen(function* () {
    const { ensureDefault } = yield* Spaces
    const { create, resetFirstAdmin } = yield* ApiKeys
    const space = yield* ensureDefault
    return yield* revokeLost ? resetFirstAdmin(space, origin) : create(space, newKey, { role: "platform-admin" }, origin)
  })

const shown = ({ keyId, text }: IssuedApiKey) => ({ keyId, key: Redacted.value(text) })

/** Refused while a server runs: it is the folder's only writer. */
export const resetKey = (
  dataFolder: string,
  revokeLost: boolean
): Effect.Effect<{ readonly keyId: string; readonly key: string }, CommandFailed> =>
  Effect.gen(function* () {
    if (!existsSync(join(dataFolder, "journal.db")))
      return yield* failed("No installation", `${dataFolder} holds no journal. Nothing was done. Correct --data.`)
    const holder = yield* holderOf(dataFolder)
    if (holder !== null)
      return yield* failed(
        "The server is running",
        `A server runs on ${dataFolder} (process ${holder.pid ?? "unknown"}, ${holder.url ?? "not listening yet"}). Nothing was done. Stop it first, or use a key that you have: tributary keys create`
      )
    return yield* Effect.gen(function* () {
      const settings = yield* readSettings({ dataFolder })
      return shown(yield* Effect.provide(issue(revokeLost), foundation(settings)))
    }).pipe(Effect.mapError((cause) => failed("The key was not made", cause.message)))
  })
