/** What the simulations play through: flows, quotas, deliveries and vendors, and which promises can be checked afterwards. */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { parse } from "yaml"
import { ConnectorId, type FlowId } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import type { TenantScope } from "#domain/scope.ts"
import type { ExternalTenantId } from "#domain/tenant.ts"
import { Connections } from "#services/connections.ts"
import { Enablements } from "#services/enablements.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Flows } from "#services/flows.ts"
import { Settings } from "#services/settings.ts"
import { Spaces } from "#services/spaces.ts"
import { Tenants } from "#services/tenants.ts"
import { signingSecret } from "../support/orders.ts"
import type { VendorScript } from "./vendors.ts"

/** As JSON, which every process of every execution reads faster. */
const shop = JSON.stringify({
  ...(parse(readFileSync(new URL("../../connectors/shop.yaml", import.meta.url), "utf8")) as object),
  actions: {},
  variables: {},
  baseUrl: "https://shop.example"
})
/** How long a call may take. */
export const callMillis = 5_000
const keyed = { body: "input", effect: "idempotent", idempotencyHeader: "idempotency-key", timeoutMillis: callMillis }
/** One app with effects of every class. */
const erp = JSON.stringify({
  id: "erp",
  name: "ERP",
  version: "1",
  baseUrl: "https://erp.example/api",
  auth: { apiKey: { kind: "apiKey", place: { in: "header", name: "x-api-key" } } },
  actions: {
    createOrder: { method: "POST", path: "/orders", ...keyed },
    book: { method: "POST", path: "/bookings", ...keyed },
    enter: {
      method: "POST",
      path: "/entries",
      body: "input",
      effect: "verifiable",
      timeoutMillis: callMillis,
      probe: {
        method: "GET",
        path: "/entries",
        query: { run: "{run}", step: "{step}", tenant: "{tenant}" },
        found: { path: "body.entered", eq: true },
        absent: { path: "body.entered", eq: false }
      }
    },
    notify: { method: "POST", path: "/mails", body: "input", effect: "unsafe", timeoutMillis: callMillis },
    look: {
      method: "GET",
      path: "/look",
      query: { run: "{run}", step: "{step}", tenant: "{tenant}" },
      effect: "safe",
      timeoutMillis: callMillis,
      input: { type: "object", required: ["run", "step", "tenant"] }
    }
  },
  errors: { transient: [429, 503], credentials: [401, 403] }
})
export const connectors: ReadonlyArray<string> = [shop, erp]

interface StepOf {
  readonly id: string
  readonly action: keyof typeof effectOf
  readonly after?: ReadonlyArray<string>
}
/** Effect classes by action. */
export const effectOf = { createOrder: "idempotent", book: "idempotent", enter: "verifiable", notify: "unsafe", look: "safe" } as const

export interface FixtureFlow {
  readonly id: string
  readonly steps: ReadonlyArray<StepOf>
}
/** Each call carries its run, step and tenant: the vendors' ledger is compared with the log by them. */
const flowText = ({ id, steps }: FixtureFlow): string =>
  JSON.stringify({
    id,
    trigger: { connector: "shop", event: "orders/create" },
    steps: [
      { id: "map", kind: "transform", expression: '{ "order": trigger.body.id, "total": trigger.body.total_price }' },
      ...steps.map(({ id: step, action, after = ["map"] }) => ({
        id: step,
        kind: "action",
        connector: "erp",
        action,
        after,
        input: { run: "= run.id", step, tenant: "= tenant.key", order: "= steps.map.output.order", total: "= steps.map.output.total" },
        retry: { attemptsMax: 40, backoffMillis: 10, backoffMaxMillis: 2_000 }
      }))
    ]
  })

export interface Fixture {
  readonly name: string
  readonly flows: ReadonlyArray<FixtureFlow>
  /** Numbers of the orders that are delivered, with the milliseconds at which they are first sent. */
  readonly deliveries: ReadonlyArray<{ readonly order: number; readonly at: number }>
  readonly quota?: { readonly limit: number; readonly mode: "block" | "queue" | "warn" }
  /** When the tenant connects the ERP (milliseconds); left out: before it begins. */
  readonly connectsAt?: number
  readonly processes: ReadonlyArray<string>
  /** Wake-ups of the tenant for no reason, in the first seconds. */
  readonly announcements?: number
  readonly vendors?: VendorScript
}

/** What was set up before the execution began. */
export interface Installed {
  readonly tenant: TenantScope
  readonly endpointId: string
  readonly flowIds: ReadonlyArray<FlowId>
}

export const origin: Origin = { actor: { kind: "system", id: "simulation" } }

export const connectErp = (tenant: TenantScope) =>
  Effect.flatMap(Connections, (connections) =>
    connections.connect(
      tenant,
      ConnectorId.make("erp"),
      { method: "apiKey", secrets: { apiKey: Redacted.make("key of the ERP") } },
      { ...origin, commandId: "connect-erp", commandHash: "1" }
    )
  )

export const install = Effect.fnUntraced(function* (fixture: Fixture) {
  const spaces = yield* Spaces
  const flows = yield* Flows
  const tenants = yield* Tenants
  const endpoints = yield* Endpoints
  const enablements = yield* Enablements
  const settings = yield* Settings
  const space = yield* spaces.ensureDefault
  const tenant = yield* tenants.create(space, { id: "acme" as ExternalTenantId, plan: "enterprise" }, origin)
  const flowIds: Array<FlowId> = []
  for (const flow of fixture.flows) {
    const { flowId } = yield* flows.draft(space, flowText(flow), origin)
    yield* flows.publish(space, flowId, origin)
    yield* enablements.enable(tenant, flowId, {}, origin)
    flowIds.push(flowId)
  }
  if (fixture.quota !== undefined) {
    yield* settings.set(tenant, "quota.eventsPerDay.limit", fixture.quota.limit, {}, origin)
    yield* settings.set(tenant, "quota.eventsPerDay.mode", fixture.quota.mode, {}, origin)
  }
  const { endpointId } = yield* endpoints.create(tenant, { connectorId: "shop", secret: Redacted.make(signingSecret) }, origin)
  if (fixture.connectsAt === undefined) yield* connectErp(tenant)
  return { tenant, endpointId, flowIds } satisfies Installed
})

const order: StepOf = { id: "order", action: "createOrder" }

/** Looking something up, an effect under a key, then one that must not be repeated. */
export const effects: Fixture = {
  name: "effects",
  flows: [
    {
      id: "effects",
      steps: [
        { id: "look", action: "look" },
        { id: "order", action: "createOrder", after: ["look"] },
        { id: "mail", action: "notify", after: ["order"] }
      ]
    }
  ],
  deliveries: [
    { order: 1, at: 100 },
    { order: 1, at: 900 }
  ],
  processes: ["one"]
}

/** Two effects at once, from vendors that are busy, down, and that fail after they acted. */
export const retries: Fixture = {
  name: "retries",
  flows: [{ id: "retries", steps: [order, { id: "book", action: "book" }] }],
  deliveries: [{ order: 1, at: 100 }],
  processes: ["one"],
  vendors: ({ step }, before) => {
    if (step === "order") return before === 0 ? { status: 429, headers: { "retry-after": "1" } } : undefined
    return before === 0 ? { status: 503 } : before === 1 ? { status: 500, acted: true } : undefined
  }
}

/** One event for two flows, and one more event than the quota allows. */
export const fanOut: Fixture = {
  name: "fan-out",
  flows: [
    { id: "first", steps: [order] },
    { id: "second", steps: [{ id: "book", action: "book" }] }
  ],
  deliveries: [1, 2, 3].map((order) => ({ order, at: 100 })),
  quota: { limit: 2, mode: "block" },
  processes: ["one"]
}

/** The connection comes when the run waits for it already. */
export const parked: Fixture = {
  name: "parked",
  flows: [{ id: "parked", steps: [order] }],
  deliveries: [{ order: 1, at: 100 }],
  connectsAt: 700,
  processes: ["one"]
}

/** What the quota does not allow today runs tomorrow: that is in half a minute. */
export const queued: Fixture = {
  name: "queued",
  flows: [{ id: "queued", steps: [order] }],
  deliveries: [1, 2].map((order) => ({ order, at: 100 })),
  quota: { limit: 1, mode: "queue" },
  processes: ["one"]
}

/** Calls of which nobody knows what came, at a vendor that can be asked: one was carried out, one was not, and once it says neither. */
export const probed: Fixture = {
  name: "probed",
  flows: [
    {
      id: "probed",
      steps: [
        { id: "done", action: "enter" },
        { id: "undone", action: "enter", after: ["done"] }
      ]
    }
  ],
  deliveries: [{ order: 1, at: 100 }],
  processes: ["one"],
  vendors: ({ step }, before) => {
    if (before === 0) return { status: 500, acted: step === "done" }
    return before === 1 && step === "undone" ? { status: 503 } : undefined
  }
}

/** What seeds choose from: another list makes other executions of them. */
export const fixtures: ReadonlyArray<Fixture> = [effects, retries, fanOut, parked, queued]
