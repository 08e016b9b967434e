/** A13: no operation gives, changes or even betrays what is another tenant's, wherever another tenant's id is put. */

import { createHmac } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Answer, type AskOptions, type Client, eventually, follow, httpClient } from "../support/http-client.ts"
import { operationsOf } from "../support/open-api.ts"
import type { Vendor } from "../support/vendor.ts"
import { nobodysNames, type OperationCase, operationCases, type Slot } from "./operations.ts"
import { makeSpace, makeWorld, nowhere, startDecidingVendor, type World } from "./worlds.ts"

let platform: PlatformProcess
let vendor: Vendor
let client: Client
/** Its key is bound to it; `own` has the space's own things where these belong. */
let own: World
let boundKey = ""
let shared: { readonly url: string; readonly secret: string }
let others: ReadonlyArray<{ readonly other: World; readonly nobody: World }>

interface Place {
  readonly name: string
  /** Nothing of it may succeed. Otherwise it may, with what is the caller's own. */
  readonly strict: boolean
}
type Pick = (place: string) => World

const strictHeaders = ["x-tenant-id", "x-fastn-space-tenantid", "x-space-id"]
const headerSlots: Readonly<Record<string, Slot>> = {
  "x-tenant-id": ({ tid }) => tid,
  "x-fastn-space-tenantid": ({ tid }) => tid,
  "x-space-id": ({ hook }) => hook.slice(0, 20),
  "x-min-position": ({ position }) => position,
  "last-event-id": ({ position }) => position
}
const methodOf = ({ name }: OperationCase) => name.split(" ")[0]!
const isOfTenant = ({ name }: OperationCase) => name.includes("{tid}")
const headersOf = (operation: OperationCase): ReadonlyArray<string> => [
  "x-space-id",
  ...(isOfTenant(operation) ? ["x-tenant-id", "x-fastn-space-tenantid"] : []),
  ...(methodOf(operation) === "GET" ? ["x-min-position"] : []),
  ...(operation.name.endsWith("stream") ? ["last-event-id"] : [])
]

/** Where an id could stand in an operation's request. */
const placesOf = (operation: OperationCase): ReadonlyArray<Place> => [
  ...(isOfTenant(operation) ? [{ name: "path tid", strict: true }] : []),
  ...Object.entries(operation.path ?? {}).flatMap(([name, slot]) =>
    typeof slot === "string" ? [] : [{ name: `path ${name}`, strict: true }]
  ),
  ...Object.keys(operation.query ?? {}).map((name) => ({ name: `query ${name}`, strict: name === "cursor" })),
  ...(operation.bodyIds === undefined ? [] : [{ name: "body", strict: operation.bodyIds.includes("tenant") }]),
  ...headersOf(operation).map((name) => ({ name: `header ${name}`, strict: strictHeaders.includes(name) }))
]

/** A request with the world that `pick` names in each place; query and headers only where it names one. */
const requestOf = (operation: OperationCase, pick: Pick, optional: ReadonlyArray<string>): AskOptions & { readonly path: string } => {
  const [, template] = operation.name.split(" ") as [string, string]
  const path = template.replace(/\{(\w+)\}/gu, (_, name: string) => {
    if (name === "tid") return encodeURIComponent(pick("path tid").tid)
    const slot = operation.path![name]!
    return typeof slot === "string" ? slot : slot(pick(`path ${name}`))
  })
  const query = new URLSearchParams()
  for (const [name, slot] of Object.entries(operation.query ?? {}))
    if (optional.includes(`query ${name}`)) query.set(name, slot(pick(`query ${name}`)))
  // A cursor is good for the very query that made it.
  if (optional.includes("query cursor")) query.set("limit", "1")
  const headers: Record<string, string> = {}
  for (const name of headersOf(operation))
    if (optional.includes(`header ${name}`)) headers[name] = headerSlots[name]!(pick(`header ${name}`))
  return {
    path: query.size === 0 ? path : `${path}?${query}`,
    headers,
    ...(operation.body === undefined ? {} : { body: operation.body(pick("body")) })
  }
}

const ask = (operation: OperationCase, pick: Pick, optional: ReadonlyArray<string>, key: string) => {
  const { path, ...options } = requestOf(operation, pick, optional)
  return client.ask(methodOf(operation), path, { ...options, key })
}

const idsOf = ({ cursors, position: _, ...ids }: World): ReadonlyArray<string> => [...Object.values(ids), ...Object.values(cursors)]
const escaped = (text: string) => [text, encodeURIComponent(text), JSON.stringify(text).slice(1, -1)]

/** An answer with the ids that were sent replaced: what is left must not depend on whether they exist. */
const without = (text: string, sent: ReadonlyArray<string>): string =>
  sent.flatMap(escaped).reduce((left, id) => left.replaceAll(id, "<id>"), text)

const seenFrom = ({ status, headers, text }: Answer, sent: ReadonlyArray<string>): object => ({
  status,
  headers: Object.keys(headers).sort(),
  type: headers["content-type"],
  length: text.length,
  text: without(text, sent)
})
/** Of a success that made something: the fresh id in it is of the same length. */
const shapeFrom = ({ status, headers, text, body }: Answer, { changing = false }: OperationCase): object => ({
  status,
  headers: Object.keys(headers).sort(),
  length: changing ? 0 : text.length,
  members: Object.keys(body ?? {})
})

interface Attack {
  readonly operation: OperationCase
  readonly place: Place
  /** Places that a request may leave out: those that this one fills. */
  readonly optional: ReadonlyArray<string>
  /** All of the request is another's, not this place alone. */
  readonly wholly?: boolean
  readonly key: string
}
/** Ids of others that the caller itself has written down: a binding to nobody's connection, say. */
const kept = new Set<string>()

const findings = async ({ operation, place, optional, wholly = false, key }: Attack) => {
  const found: Array<string> = []
  let requests = 0
  for (const { other, nobody } of others) {
    const from =
      (world: World): Pick =>
      (name) =>
        wholly || name === place.name ? world : own
    const sentOf = (world: World) => {
      const sent = JSON.stringify(requestOf(operation, from(world), optional))
      return idsOf(world).filter((id) => escaped(id).some((text) => sent.includes(text)))
    }
    const real = await ask(operation, from(other), optional, key)
    const none = await ask(operation, from(nobody), optional, key)
    requests += 2
    const at = `${operation.name}, ${place.name} of ${other.tid} to ${key === boundKey ? "a key of one tenant" : "a key of the space"}`
    if (place.strict && real.status < 400) found.push(`${at} succeeded: ${real.status} ${real.text}`)
    if (real.status >= 500) found.push(`${at} failed: ${real.status} ${real.text}`)
    const made = real.status < 300 && methodOf(operation) !== "GET"
    if (made) for (const id of sentOf(other)) kept.add(id)
    const byShape = made || operation.changing === true
    const seen = byShape ? shapeFrom(real, operation) : seenFrom(real, sentOf(other))
    const expected = byShape ? shapeFrom(none, operation) : seenFrom(none, sentOf(nobody))
    if (JSON.stringify(seen) !== JSON.stringify(expected))
      found.push(`${at} differs: ${JSON.stringify(seen)} from ${JSON.stringify(expected)}`)
    const sent = [...sentOf(other), ...kept]
    const forAll = key !== boundKey && !isOfTenant(operation)
    const leaked = forAll ? undefined : idsOf(other).find((id) => real.text.includes(id) && !sent.includes(id))
    if (leaked !== undefined) found.push(`${at} tells ${leaked}`)
  }
  return { found, requests }
}

/** Everything that a space's key sees of a tenant. */
const standOf = async ({ tid, keyId }: World): Promise<ReadonlyArray<string>> => {
  const names = ["", ..."connections hooks workflows executions events usage/windows settings audit".split(" ").map((name) => `/${name}`)]
  const looks = await Promise.all(names.map((name) => client.ok("GET", `/api/v1/tenants/${tid}${name}`)))
  const keys = (await client.ok("GET", "/api/v1/api-keys")).body.items as ReadonlyArray<{ readonly keyId: string }>
  return [...looks.map(({ text }) => text), JSON.stringify(keys.find((key) => key.keyId === keyId))]
}

/** The same once it has settled: views follow within half a second under load, and what the set-up started may still run. */
const settledStandOf = async (world: World): Promise<ReadonlyArray<string>> => {
  const deadline = performance.now() + 20_000
  let stand = await standOf(world)
  for (let same = 0; ; ) {
    await pause(700)
    const next = await standOf(world)
    same = JSON.stringify(next) === JSON.stringify(stand) ? same + 1 : 0
    if (same === 2 || performance.now() > deadline) return next
    stand = next
  }
}

beforeAll(async () => {
  vendor = await startDecidingVendor()
  platform = await startPlatform()
  client = httpClient(platform.url, platform.key)
  const space = await makeSpace(client)
  shared = space.endpoint
  const spaces = await client.ok("PUT", "/api/v1/settings/runs.attemptsMax", { value: 5 })
  const made: Array<World> = []
  for (const tid of ["tenant-bbbb", "tenant-cccc", "tenant-aaaa"]) made.push(await makeWorld(client, vendor, tid))
  others = made
    .slice(0, 2)
    .map((other, index) => ({ other, nobody: nowhere(other, `tenant-zzz${index}`, String(spaces.headers["x-position"])) }))
  own = { ...made[2]!, ...space.own }
  boundKey = (await client.ok("POST", "/api/v1/api-keys", { role: "admin", label: "Bound", tenant: own.tid })).body.key
})
afterAll(async () => {
  client?.close()
  await platform?.remove()
  await vendor?.close()
})

describe("A13: another tenant's ids", () => {
  it("are tried in every place of every operation that the document has", async () => {
    const { body } = await client.ok("GET", "/openapi.json")
    const byName = new Map(operationCases.map((operation) => [operation.name, operation]))
    const documented = operationsOf(body)
    const gaps = documented.flatMap(({ method, path, parameters, members }) => {
      const operation = byName.get(`${method} ${path}`)
      if (operation === undefined) return [`${method} ${path} has no case`]
      const places = new Set(placesOf(operation).map(({ name }) => name))
      const open = parameters
        .map((parameter) => ({ place: `${parameter.in} ${parameter.name}`, name: parameter.name }))
        // Made the same for every tenant by `makeWorld`.
        .filter(({ name }) => name !== "idempotency-key")
        .filter(({ place, name }) => !places.has(place) && !(nobodysNames.has(name) || typeof operation.path?.[name] === "string"))
        .map(({ place }) => place)
      const ids = members.filter((member) => /(?:Id|tenant|bindings|target|cursor)$/u.test(member) && !operation.bodyIds?.includes(member))
      return [...open, ...ids.map((member) => `body ${member}`)].map((place) => `${method} ${path}: ${place} is not tried`)
    })
    assert.deepStrictEqual(gaps, [])
    ran("A13", documented.length, 60, "operations of the document have a case")
  })

  it("were given to each tenant as its own, under the same idempotency keys and event ids", () => {
    const worlds = [own, ...others.map(({ other }) => other)]
    const all = worlds.flatMap((world) => idsOf(world).slice(1))
    const shared = all.filter((id, index) => all.indexOf(id) !== index)
    // A tenant's connection and hook stand for the space's, too.
    const twice = others.flatMap(({ other }) => [other.connection, other.hook])
    assert.deepStrictEqual(shared.toSorted(), twice.toSorted())
  })

  it("open nothing, and look like ids that nobody has, to a key of one tenant and to one of the space", async () => {
    const before = await Promise.all(others.map(({ other }) => settledStandOf(other)))
    const found: Array<string> = []
    let requests = 0
    const attack = async (how: Attack) => {
      const result = await findings(how)
      found.push(...result.found)
      requests += result.requests
    }
    for (const operation of operationCases) {
      const places = placesOf(operation)
      for (const place of places) await attack({ operation, place, optional: [place.name], key: boundKey })
      const everything = { name: "everything", strict: !isForAll(operation) }
      await attack({ operation, place: everything, optional: [], wholly: true, key: boundKey })
      await attack({ operation, place: everything, optional: ["header x-tenant-id"], wholly: true, key: boundKey })
      if (operation.spaceMay === true) continue
      // A key of the space may name any tenant in the path, but in nothing else.
      for (const place of places)
        if (place.name !== "path tid") await attack({ operation, place, optional: [place.name], key: platform.key })
    }
    assert.deepStrictEqual(found, [])
    assert.deepStrictEqual(await Promise.all(others.map(({ other }) => settledStandOf(other))), before, "changed")
    ran("A13", requests, operationCases.length * 8, "requests with an id of another tenant or of nobody")
  })

  it("lend no credentials to a run that is bound to them", async () => {
    const { other } = others[0]!
    const base = `/api/v1/tenants/${own.tid}`
    await client.ok("PUT", `${base}/workflows/orders`, { bindings: { erp: other.connection } })
    const sent = await client.ok("POST", `${base}/events`, { connector: "shop", event: "orders/create", body: { id: 77, total: 1 } })
    await eventually("the run to wait for a connection", async () => {
      const [run] = (await client.ok("GET", `${base}/executions?delivery=${sent.body.deliveryId}`)).body.items
      return run?.status === "parked" ? run : undefined
    })
    assert.deepStrictEqual(
      vendor.calls.filter(({ body }) => body.includes('"77"')),
      []
    )
  })

  it("keep their events apart behind an endpoint that they share, under the same vendor's id", async () => {
    const [first, second] = others.map(({ other }) => other) as [World, World]
    const claim = (tid: string, account: string, key: string) =>
      client.ask("POST", `/api/v1/tenants/${tid}/connections`, {
        key,
        body: { connector: "market", method: "token", secrets: { token: "t" }, account }
      })
    for (const { tid } of [first, second]) assert.strictEqual((await claim(tid, `merchant-of-${tid}`, platform.key)).status, 201)
    const refusals = [first.tid, "tenant-zzzz"].map((tid) => claim(own.tid, `merchant-of-${tid}`, boundKey))
    const [taken, free] = await Promise.all(refusals)
    assert.deepStrictEqual([taken!.status, taken!.text], [403, free!.text])
    for (const merchant of [first.tid, second.tid, "nobody"]) {
      const body = JSON.stringify({ event: "sold", id: "delivery-1", merchant: `merchant-of-${merchant}` })
      const signature = createHmac("sha256", shared.secret).update(body).digest("hex")
      const { status } = await client.ask("POST", new URL(shared.url).pathname, { key: "", body, headers: { "x-signature": signature } })
      assert.strictEqual(status, merchant === "nobody" ? 404 : 200)
    }
    const sold = await Promise.all(
      [first, second].map(({ tid }) =>
        eventually(`the event of ${tid}`, async () => {
          const { items } = (await client.ok("GET", `/api/v1/tenants/${tid}/events?connector=market`)).body
          return items.length === 0 ? undefined : items.map(({ id }: { id: string }) => id)
        })
      )
    )
    assert.deepStrictEqual([sold[0].length, sold[1].length, new Set(sold.flat()).size], [1, 1, 2])
  })

  it("are not told by a live stream that resumes at another tenant's position", async () => {
    const { other } = others[0]!
    const told = await follow(
      client,
      `/api/v1/tenants/${own.tid}/executions/stream`,
      boundKey,
      ({ data }) => data.executionId === own.undecided,
      { after: other.position }
    )
    const runs = new Set(told.map(({ data }) => data.executionId))
    assert.deepStrictEqual([...runs].sort(), [own.succeeded, own.failed, own.waiting, own.undecided].sort())
  })

  it("stand in requests that succeed with the tenant's own ids", async () => {
    const failed: Array<string> = []
    for (const operation of operationCases) {
      const answer = await ask(operation, () => own, [], isOfTenant(operation) ? boundKey : platform.key)
      if (answer.status >= 300) failed.push(`${operation.name}: ${answer.status} ${answer.text}`)
    }
    assert.deepStrictEqual(failed, [])
  })
})

/** What all tenants share: nothing in the request says whose it is. */
const isForAll = ({ name }: OperationCase) => /^GET \/api\/v1\/(?:connectors|workflows)/u.test(name)
