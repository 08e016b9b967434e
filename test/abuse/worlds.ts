/** Tenants that have one of everything, so that each id of one can be tried on another. */
import { assert } from "vitest"
import { type Client, eventually } from "../support/http-client.ts"
import { startVendor, type Vendor } from "../support/vendor.ts"

/** The ids by which a tenant's things are known. Values of the same name have the same length in every world. */
export interface World {
  /** The space's own id of the tenant. */
  readonly tid: string
  readonly connection: string
  readonly spareConnection: string
  readonly hook: string
  readonly spareHook: string
  /** What stands where the space's own connection and hook belong. */
  readonly fixedConnection: string
  readonly sharedHook: string
  readonly delivery: string
  readonly succeeded: string
  readonly failed: string
  readonly waiting: string
  readonly undecided: string
  readonly keyId: string
  /** The id under which it sent an event through the API. */
  readonly sentAs: string
  /** Of a change to it. */
  readonly position: string
  /** Of the second page of each of its lists, by the list's name. */
  readonly cursors: Readonly<Record<string, string>>
}

const pusher = {
  id: "pusher",
  name: "Pusher",
  baseUrl: "{address}",
  variables: { address: { kind: "origin" } },
  auth: { none: { kind: "none" } },
  actions: { push: { method: "POST", path: "/push", body: "input", effect: "unsafe" } }
}
/** Its webhooks name the tenant, so that the space can have one endpoint for all. */
const market = {
  id: "market",
  name: "Market",
  auth: { token: { kind: "bearer" } },
  webhook: {
    signature: { algorithm: "hmac-sha256", parts: ["body"], headers: ["x-signature"], encoding: "hex" },
    event: { body: "event" },
    tenant: { body: "merchant" },
    deliveryId: { body: "id" }
  },
  triggers: [{ event: "sold" }]
}
const orders = {
  id: "orders",
  trigger: { connector: "shop", event: "orders/create" },
  steps: [
    {
      id: "enter",
      kind: "action",
      connector: "erp",
      action: "createOrder",
      input: { externalId: "= $string(trigger.body.id)", total: "= trigger.body.total", currency: "EUR" }
    }
  ]
}
const pushes = {
  id: "pushes",
  trigger: { connector: "shop", event: "orders/paid" },
  steps: [{ id: "push", kind: "action", connector: "pusher", action: "push", input: {} }]
}

/** An app whose answer is decided by an order's total: 1 succeeds, 2 fails for good, 3 is to be tried again in an hour. */
export const startDecidingVendor = (): Promise<Vendor> =>
  startVendor(({ url, body }) => {
    if (url === "/push") return "reset"
    const { total } = JSON.parse(body)
    if (total === 3) return { status: 503, headers: { "retry-after": "3600" } }
    return { status: total === 1 ? 201 : 422, body: '{"id":"erp-1"}' }
  })

/** What all tenants share, and the space's own connection and hook. */
export const makeSpace = async (client: Client) => {
  for (const manifest of [pusher, market]) await client.ok("POST", "/api/v1/connectors", manifest)
  for (const document of [orders, pushes]) {
    await client.ok("POST", "/api/v1/workflows", document)
    await client.ok("POST", `/api/v1/workflows/${document.id}/publish`)
  }
  const fixed = await client.ok("POST", "/api/v1/connections", { connector: "market", method: "token", secrets: { token: "t" } })
  const hook = await client.ok("POST", "/api/v1/hooks", { connector: "market" })
  const own: Pick<World, "fixedConnection" | "sharedHook"> = {
    fixedConnection: fixed.body.connectionId,
    sharedHook: hook.body.endpointId
  }
  return { own, endpoint: hook.body as { readonly url: string; readonly secret: string } }
}

const lists = ["connections", "hooks", "workflows", "executions", "events", "audit"]

/**
 * A tenant with one of everything. Every tenant's requests carry the same idempotency keys and its events the same ids: were
 * these not its own, the second tenant would be given what the first one has.
 */
export const makeWorld = async (client: Client, vendor: Vendor, tid: string): Promise<World> => {
  let requests = 0
  const make = async (path: string, body: unknown) =>
    (await client.ok("POST", path, body, { "idempotency-key": `k-${path.length}-${requests++}` })).body
  await client.ok("POST", "/api/v1/tenants", { id: tid, plan: "enterprise" })
  const base = `/api/v1/tenants/${tid}`
  const variables = { address: vendor.address }
  const erp = await make(`${base}/connections`, { connector: "erp", method: "apiKey", secrets: { apiKey: `key-of-${tid}` }, variables })
  const shop = { connector: "shop", method: "token", secrets: { apiKey: "t" }, variables: { shop: "shop" } }
  const spare = await make(`${base}/connections`, shop)
  await make(`${base}/connections`, { connector: "pusher", method: "none", secrets: {}, variables })
  const hook = await make(`${base}/hooks`, { connector: "shop" })
  const spareHook = await make(`${base}/hooks`, { connector: "shop", connectionId: spare.connectionId })
  for (const flow of ["orders", "pushes"]) await client.ok("PUT", `${base}/workflows/${flow}`, {})

  const send = async (event: string, total: number, deliveryId: string) => {
    const sent = await make(`${base}/events`, { connector: "shop", event, body: { id: total, total }, deliveryId })
    assert.isFalse(sent.duplicate, `${deliveryId} of ${tid} was taken for another tenant's`)
    return sent.deliveryId as string
  }
  const started = async (delivery: string, status: string) =>
    eventually(`a run of ${tid} that is ${status}`, async () => {
      const [run] = (await client.ok("GET", `${base}/executions?delivery=${delivery}`)).body.items
      return run?.status === status ? (run.id as string) : undefined
    })
  const sentAs = `sent-by-${tid}`
  const delivery = await send("orders/create", 1, sentAs)
  const world = {
    tid,
    connection: erp.connectionId,
    spareConnection: spare.connectionId,
    hook: hook.endpointId,
    spareHook: spareHook.endpointId,
    fixedConnection: erp.connectionId,
    sharedHook: hook.endpointId,
    delivery,
    sentAs,
    succeeded: await started(delivery, "succeeded"),
    failed: await started(await send("orders/create", 2, "second"), "failed"),
    waiting: await started(await send("orders/create", 3, "third"), "waiting"),
    undecided: await started(await send("orders/paid", 4, "fourth"), "needs-decision"),
    keyId: (await client.ok("POST", "/api/v1/api-keys", { role: "admin", label: tid, tenant: tid })).body.keyId as string
  }
  const touched = await client.ok("PUT", `${base}/settings/runs.retentionDays`, { value: 30 })
  const cursors: Record<string, string> = {}
  for (const list of lists) {
    cursors[list] = (await client.ok("GET", `${base}/${list}?limit=1`)).body.next
    assert.isString(cursors[list], `${list} of ${tid} has one page`)
  }
  return { ...world, position: String(touched.headers["x-position"]), cursors }
}

/** Base32 of the same length that no id has. */
const nobody = (id: string) => id.slice(0, id.indexOf(".") + 1) + "z".repeat(id.length - id.indexOf(".") - 1)

/** Ids like those of a world that lead nowhere; `position` is one of the space's own. */
export const nowhere = (like: World, tid: string, position: string): World => {
  const scoped = (id: string) => id[0] + nobody(id.slice(1))
  const forged = (cursor: string) => (cursor.startsWith("A") ? "B" : "A") + cursor.slice(1)
  return {
    tid,
    connection: nobody(like.connection),
    spareConnection: nobody(like.spareConnection),
    hook: scoped(like.hook),
    spareHook: scoped(like.spareHook),
    fixedConnection: nobody(like.fixedConnection),
    sharedHook: scoped(like.sharedHook),
    delivery: nobody(like.delivery),
    succeeded: nobody(like.succeeded),
    failed: nobody(like.failed),
    waiting: nobody(like.waiting),
    undecided: nobody(like.undecided),
    keyId: nobody(like.keyId),
    sentAs: `sent-by-${tid}`,
    position,
    cursors: Object.fromEntries(Object.entries(like.cursors).map(([list, cursor]) => [list, forged(cursor)]))
  }
}
