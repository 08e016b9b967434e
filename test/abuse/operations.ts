/** Every operation of the API with a request that succeeds for its own tenant, and the places in it where another's id could stand. */
import type { World } from "./worlds.ts"

export type Slot = (world: World) => string
export interface OperationCase {
  /** `GET /api/v1/tenants/{tid}`, as the OpenAPI document writes it. */
  readonly name: string
  /** Path parameters; `tid` goes without saying. Text stands for what is nobody's id: a step, a setting. */
  readonly path?: Readonly<Record<string, Slot | string>>
  /** Query parameters that name something of a tenant. */
  readonly query?: Readonly<Record<string, Slot>>
  /** Written from a world: where `bodyIds` names members, these are a tenant's. */
  readonly body?: (world: World) => object
  readonly bodyIds?: ReadonlyArray<string>
  /** A key of the space may rightly name any tenant here. */
  readonly spaceMay?: boolean
  /** Its answer changes from one moment to the next. */
  readonly changing?: boolean
}

const cursor =
  (list: string): Slot =>
  ({ cursors }) =>
    cursors[list] ?? cursors["executions"]!
const tenant = "/api/v1/tenants/{tid}"

const shop = { connector: "shop", method: "token", variables: { shop: "another" } }
const market = { connector: "market", method: "token" }
const connectionsIn = (base: string, own: Slot): ReadonlyArray<OperationCase> => [
  { name: `GET ${base}`, query: { cursor: cursor("connections") } },
  { name: `GET ${base}/{id}`, path: { id: own } },
  {
    name: `POST ${base}`,
    body: () => (base.includes("{tid}") ? { ...shop, secrets: { apiKey: "t" } } : { ...market, secrets: { token: "t" } })
  },
  {
    name: `POST ${base}/{id}/rotate`,
    path: { id: own },
    body: () => ({ secrets: base.includes("{tid}") ? { apiKey: "new" } : { token: "new" } })
  },
  { name: `POST ${base}/{id}/default`, path: { id: own } }
]
const hooksIn = (base: string, own: Slot): ReadonlyArray<OperationCase> => [
  { name: `GET ${base}`, query: { cursor: cursor("hooks") } },
  {
    name: `POST ${base}`,
    body: ({ spareConnection, fixedConnection }) =>
      base.includes("{tid}")
        ? { connector: "shop", connectionId: spareConnection }
        : { connector: "market", connectionId: fixedConnection },
    bodyIds: ["connectionId"]
  },
  { name: `GET ${base}/{id}`, path: { id: own } },
  { name: `POST ${base}/{id}/secrets`, path: { id: own }, body: () => ({}) },
  { name: `DELETE ${base}/{id}/secrets/{field}`, path: { id: own, field: "secret-1" } }
]
const settingsIn = (base: string): ReadonlyArray<OperationCase> => [
  { name: `GET ${base}` },
  { name: `GET ${base}/{key}/explain`, path: { key: "runs.retentionDays" } },
  { name: `PUT ${base}/{key}`, path: { key: "runs.retentionDays" }, body: () => ({ value: 40 }) },
  { name: `DELETE ${base}/{key}`, path: { key: "runs.retentionDays" } }
]
const audited = { target: (world: World) => world.connection, by: ({ keyId }: World) => `key:${keyId}` }

/** In an order in which each succeeds after those before it. */
const documented: ReadonlyArray<OperationCase> = [
  { name: "GET /api/v1/tenants", query: { cursor: cursor("tenants") } },
  { name: "POST /api/v1/tenants", body: () => ({ id: "made-by-the-control" }) },
  { name: "POST /api/v1/tenants/bulk", body: () => [{ id: "made-by-the-control-too" }] },
  { name: `GET ${tenant}` },
  { name: `PATCH ${tenant}`, body: () => ({ displayName: "Renamed" }) },
  { name: "GET /api/v1/connectors" },
  { name: "GET /api/v1/connectors/{id}", path: { id: "erp" } },
  { name: "POST /api/v1/connectors", body: () => ({ id: "mine", name: "Mine", auth: { none: { kind: "none" } } }) },
  { name: "GET /api/v1/workflows", query: { cursor: cursor("workflows") } },
  {
    name: "POST /api/v1/workflows",
    body: () => ({
      id: "mine",
      trigger: { connector: "shop", event: "*" },
      steps: [{ id: "one", kind: "transform", expression: "1" }]
    })
  },
  { name: "GET /api/v1/workflows/{id}", path: { id: "mine" } },
  { name: "POST /api/v1/workflows/{id}/publish", path: { id: "mine" } },
  { name: "GET /api/v1/workflows/{id}/versions/{version}", path: { id: "mine", version: "1" } },
  ...connectionsIn(`${tenant}/connections`, ({ connection }) => connection),
  ...hooksIn(`${tenant}/hooks`, ({ hook }) => hook),
  { name: `GET ${tenant}/workflows`, query: { cursor: cursor("workflows") } },
  {
    name: `PUT ${tenant}/workflows/{id}`,
    path: { id: "orders" },
    body: ({ connection }) => ({ bindings: { erp: connection } }),
    bodyIds: ["bindings"]
  },
  { name: `GET ${tenant}/executions`, query: { cursor: cursor("executions"), delivery: ({ delivery }) => delivery } },
  { name: `GET ${tenant}/executions/stream` },
  { name: `GET ${tenant}/executions/{id}`, path: { id: ({ succeeded }) => succeeded } },
  { name: `GET ${tenant}/executions/{id}/stream`, path: { id: ({ succeeded }) => succeeded } },
  { name: `GET ${tenant}/executions/{id}/steps/{step}`, path: { id: ({ succeeded }) => succeeded, step: "enter" } },
  { name: `POST ${tenant}/executions/{id}/retry`, path: { id: ({ failed }) => failed } },
  { name: `POST ${tenant}/executions/{id}/cancel`, path: { id: ({ waiting }) => waiting }, body: () => ({ reason: "Enough" }) },
  {
    name: `POST ${tenant}/executions/{id}/steps/{step}/decide`,
    path: { id: ({ undecided }) => undecided, step: "push" },
    body: () => ({ decision: "failed" })
  },
  { name: `GET ${tenant}/events`, query: { cursor: cursor("events") } },
  { name: `GET ${tenant}/events/{id}`, path: { id: ({ delivery }) => delivery } },
  { name: `GET ${tenant}/events/{id}/content`, path: { id: ({ delivery }) => delivery } },
  { name: `GET ${tenant}/events/{id}/explain`, path: { id: ({ delivery }) => delivery } },
  {
    name: `POST ${tenant}/events`,
    body: ({ sentAs }) => ({ connector: "shop", event: "products/create", body: {}, deliveryId: sentAs }),
    bodyIds: ["deliveryId"]
  },
  { name: `GET ${tenant}/usage` },
  { name: `GET ${tenant}/usage/windows`, query: { cursor: cursor("usage") } },
  {
    name: `GET ${tenant}/usage/{dimension}/{window}`,
    path: { dimension: "events", window: "20260101" },
    query: { cursor: cursor("usage") }
  },
  ...settingsIn(`${tenant}/settings`),
  { name: `GET ${tenant}/audit`, query: { cursor: cursor("audit"), ...audited } },
  ...settingsIn("/api/v1/settings"),
  ...settingsIn("/api/v1/platform/settings"),
  { name: "GET /api/v1/audit", query: { cursor: cursor("audit"), ...audited } },
  ...connectionsIn("/api/v1/connections", ({ fixedConnection }) => fixedConnection),
  ...hooksIn("/api/v1/hooks", ({ sharedHook }) => sharedHook),
  { name: "GET /api/v1/api-keys", query: { cursor: cursor("api-keys") } },
  {
    name: "POST /api/v1/api-keys",
    body: ({ tid }) => ({ role: "viewer", label: "Another", tenant: tid }),
    bodyIds: ["tenant"],
    spaceMay: true
  },
  { name: "POST /api/v1/api-keys/{keyId}/rotate", path: { keyId: ({ keyId }) => keyId }, body: () => ({}), spaceMay: true },
  { name: "GET /api/v1/projections" },
  { name: "POST /api/v1/projections/{name}/rebuild", path: { name: "settings" } },
  { name: "GET /api/v1/system", changing: true },
  { name: `DELETE ${tenant}/workflows/{id}`, path: { id: "pushes" } },
  { name: `DELETE ${tenant}/hooks/{id}`, path: { id: ({ spareHook }) => spareHook } },
  { name: `DELETE ${tenant}/connections/{id}`, path: { id: ({ spareConnection }) => spareConnection } },
  { name: "DELETE /api/v1/hooks/{id}", path: { id: ({ sharedHook }) => sharedHook } },
  { name: "DELETE /api/v1/connections/{id}", path: { id: ({ fixedConnection }) => fixedConnection } },
  { name: `POST ${tenant}/suspend` },
  { name: `POST ${tenant}/activate` },
  { name: "POST /api/v1/workflows/{id}/archive", path: { id: "mine" } },
  { name: "DELETE /api/v1/api-keys/{keyId}", path: { keyId: ({ keyId }) => keyId }, spaceMay: true }
]

/** The older name of the connections' paths, which the document leaves out, before what ends connections. */
const aliases = documented
  .filter(({ name }) => name.includes(`${tenant}/connections`) && !name.startsWith("DELETE"))
  .map((operation) => ({ ...operation, name: operation.name.replace("/connections", "/credentials") }))

export const operationCases: ReadonlyArray<OperationCase> = [...aliases, ...documented]

/** Parameters and members that name nothing of a tenant: settings of the request, and names that all tenants share. */
export const nobodysNames: ReadonlySet<string> = new Set([
  ..."limit order status plan region since until event action kind at reason dimension window connector flow workflow".split(" "),
  ..."sort tier role changedSince changedUntil reservedMin if-match if-none-match".split(" "),
  ..."step field key name version".split(" ")
])
