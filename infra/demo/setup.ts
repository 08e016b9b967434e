/** Sets up two tenants over the HTTP API, each with its own shop, its own ERP credential and the same flow. */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import type { Client } from "../cli/client.ts"
import { tenantPath } from "../cli/command.ts"
import { documentFrom } from "../cli/documents.ts"
import type { CommandFailed } from "../cli/failure.ts"
import type { Shop } from "./messages.ts"

export interface DemoTenant {
  /** The space's own id of it: any text, as these two show. */
  readonly id: string
  readonly name: string
  readonly shopName: string
  /** What its ERP knows it by. */
  readonly erpKey: string
}

const secret = (prefix: string): string => `${prefix}${randomBytes(18).toString("base64url")}`

export const makeTenants = (): ReadonlyArray<DemoTenant> => [
  { id: "acme-corp", name: "Acme Corp", shopName: "acme-goods", erpKey: secret("acme-") },
  { id: "ana@example.com", name: "Ana Ribeiro", shopName: "ana-ceramics", erpKey: secret("ana-") }
]

const flowFile = new URL("../../examples/orders-to-erp.yaml", import.meta.url).pathname

/** Drafts and publishes the example flow; its id. */
const publishFlow = (client: Client) =>
  Effect.gen(function* () {
    const { id } = yield* client.ask<{ readonly id: string }>("/api/v1/workflows", yield* documentFrom(flowFile))
    yield* client.ask(`/api/v1/workflows/${id}/publish`, { method: "POST" })
    return id
  })

const setUpTenant = (client: Client, tenant: DemoTenant, erpUrl: string, flowId: string): Effect.Effect<Shop, CommandFailed> =>
  Effect.gen(function* () {
    const post = <A>(path: string, body: unknown) => client.ask<A>(path, { method: "POST", body })
    yield* post("/api/v1/tenants", { id: tenant.id, displayName: tenant.name })
    yield* post(tenantPath(tenant.id, "/connections"), {
      connector: "erp",
      method: "apiKey",
      secrets: { apiKey: tenant.erpKey },
      variables: { address: erpUrl }
    })
    const signing = secret("shpss_")
    const { url } = yield* post<{ readonly url: string }>(tenantPath(tenant.id, "/hooks"), { connector: "shop", secret: signing })
    yield* client.ask(tenantPath(tenant.id, `/workflows/${flowId}`), { method: "PUT", body: {} })
    return { tenant: tenant.id, name: tenant.shopName, url, secret: signing }
  })

/** The shops that are to send. */
export const setUp = (
  client: Client,
  tenants: ReadonlyArray<DemoTenant>,
  erpUrl: string
): Effect.Effect<ReadonlyArray<Shop>, CommandFailed> =>
  Effect.flatMap(publishFlow(client), (flowId) => Effect.forEach(tenants, (tenant) => setUpTenant(client, tenant, erpUrl, flowId)))
