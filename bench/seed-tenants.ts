/** `node bench/seed-tenants.ts <folder> <tenants> <urls file> <base url>`: tenants with an endpoint and an enabled flow each, made by the real services. */
import "effect/schema/SchemaJITCompiler/enable"
import { writeFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { FlowId } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { spaceScope } from "#domain/scope.ts"
import { ExternalTenantId } from "#domain/tenant.ts"
import * as embedded from "#infra/embedded.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Spaces } from "#services/spaces.ts"
import { Tenants } from "#services/tenants.ts"
import { dataFolderOf, masterKeyFileOf } from "./embedded.ts"
import { idleFlow } from "./platform.ts"
import { SECRET } from "./reference/payload.mjs"

const [folder, count, urlsFile, baseUrl] = process.argv.slice(2) as [string, string, string, string]
/** Enough to fill the journal's group commits. */
const atOnce = 256
const origin = { actor: systemActor("bench") }

const seed = Effect.gen(function* () {
  const { space } = yield* (yield* Spaces).ensureDefault
  const tenants = yield* Tenants
  const endpoints = yield* Endpoints
  const enablements = yield* Enablements
  const add = Effect.fnUntraced(function* (index: number) {
    const scope = yield* tenants.create(spaceScope(space), { id: ExternalTenantId.make(`tenant-${index}`), plan: "enterprise" }, origin)
    const { path } = yield* endpoints.create(scope, { connectorId: "shop", secret: Redacted.make(SECRET) }, origin)
    yield* enablements.enable(scope, FlowId.make(idleFlow), {}, origin)
    return `${baseUrl}${path}`
  })
  return yield* Effect.forEach(
    Array.from({ length: Number(count) }, (_, index) => index),
    add,
    { concurrency: atOnce }
  )
})

const settings = {
  host: "127.0.0.1",
  port: 0,
  dataFolder: dataFolderOf(folder),
  masterKey: Option.none(),
  masterKeyFile: Option.some(masterKeyFileOf(folder)),
  servers: null,
  role: "all",
  runsInFlight: Option.none(),
  relay: Option.none(),
  publicUrl: Option.none(),
  trustedProxies: 0,
  egressAllow: "",
  logLevel: "Warn",
  stopSeconds: 20
} as const
const urls = await Effect.runPromise(Effect.scoped(Effect.provide(seed, embedded.layer(settings))))
writeFileSync(urlsFile, `${urls.join("\n")}\n`)
process.exit(0)
