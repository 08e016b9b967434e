/** `tributary keys`: who may call, and a new first key where the old one is lost. */
import * as Clock from "effect/Clock"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { roles } from "#domain/access.ts"
import { limit, moreNote, optionalTenant, orUndefined, type Page, pages, serverCommand, text, told } from "./command.ts"
import { dataFolderOf, reach } from "./installation.ts"
import { plain, show, status, styled, table, time } from "./output.ts"

interface ApiKey {
  readonly keyId: string
  readonly role: string
  readonly tenant: string | null
  readonly label: string
  readonly status: string
  readonly createdBy: string
  readonly createdAt: number
  readonly expiresAt: number | null
}
interface IssuedKey {
  readonly keyId: string
  readonly key: string
}

const path = "/api/v1/api-keys"
const dayMillis = 86_400_000

const row = (key: ApiKey): ReadonlyArray<string> => [
  key.keyId,
  status(key.status),
  key.role,
  plain(key.tenant ?? "all"),
  time(key.createdAt),
  key.expiresAt === null ? "never" : time(key.expiresAt),
  plain(key.label)
]
const keyTable = (page: Page<ApiKey>): string =>
  page.items.length === 0
    ? "No API keys."
    : table(["KEY", "STATUS", "ROLE", "TENANT", "CREATED", "EXPIRES", "LABEL"], page.items.map(row)) + moreNote(page)

export const issuedText = ({ key }: IssuedKey): string => `${styled("bold", key)}\nIt is shown this once and kept nowhere. Keep it safe.`

const list = serverCommand("list", "All API keys; never their secrets.", { limit }, (client, input) =>
  Effect.flatMap(pages<ApiKey>(client, path, {}, input.limit), (page) => show(input.json, page, keyTable))
)

const create = serverCommand(
  "create",
  "Creates an API key for your own role or one below it, and shows it once.",
  {
    label: text("label", "What it is for"),
    role: Flag.Literals("role", roles).pipe(Flag.withDescription("What it may do"), Flag.withDefault("developer" as const)),
    tenant: optionalTenant,
    days: Flag.Int("expires-in-days").pipe(Flag.withDescription("Never, when left out"), Flag.optional)
  },
  (client, input) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const days = orUndefined(input.days)
      const tenant = orUndefined(input.tenant)
      const body = {
        label: input.label,
        role: input.role,
        ...(tenant === undefined ? {} : { tenant }),
        ...(days === undefined ? {} : { expiresAt: now + days * dayMillis })
      }
      yield* show(input.json, yield* client.ask<IssuedKey>(path, { method: "POST", body }), issuedText)
    })
)

const revoke = serverCommand("revoke", "Revokes an API key at once.", { keyId: text("key", "The key's id, as listed") }, (client, input) =>
  Effect.gen(function* () {
    const answer = yield* client.ask<unknown>(`${path}/${encodeURIComponent(input.keyId)}/revoke`, { method: "POST" })
    yield* show(input.json, answer ?? { keyId: input.keyId, status: "revoked" }, () => `The key ${input.keyId} is revoked.`)
  })
)

const reset = Command.make(
  "reset",
  {
    data: reach.data,
    json: reach.json,
    revoke: Flag.Boolean("revoke-lost").pipe(Flag.withDescription("Also revoke the first key of before"), Flag.withDefault(false))
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const { resetKey } = yield* Effect.promise(() => import("./key-reset.ts"))
        const issued = yield* resetKey(dataFolderOf(input), input.revoke)
        yield* show(input.json, issued, issuedText)
      })
    )
).pipe(Command.withDescription("For a lost first key: creates a new admin key in the data folder of a stopped installation."))

export const keys = Command.make("keys").pipe(
  Command.withDescription("API keys: who may call, as which role, for which tenant."),
  Command.withSubcommands([list, create, revoke, reset])
)
