import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { afterAll, assert, describe, it } from "vitest"
import type { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Feed } from "#services/ports/feed.ts"
import { Vault } from "#services/ports/vault.ts"
import { integrationServices, keyed, origin, otherTenant, space, tenant } from "../support/integration-services.ts"

const runtime = ManagedRuntime.make(integrationServices)
afterAll(() => runtime.dispose())
type Needs = Connectors | Feed | Vault
const run = <A, E>(effect: (connections: Connections["Service"]) => Effect.Effect<A, E, Needs>) =>
  runtime.runPromise(Effect.flatMap(Connections, effect))

/** A connector of its own for each test, so that no test sees another's connections. */
const connector = Effect.fnUntraced(function* (id: string) {
  const connectors = yield* Connectors
  const text = `{ id: ${id}, name: App, baseUrl: 'https://{shop}.example.com', variables: { shop: { pattern: '[a-z]+' } }, auth: { key: { kind: bearer } } }`
  yield* connectors.publish(space, text, origin)
  return id as ConnectorId
})
const bearer = (token: string, more: object = {}) => ({
  method: "key",
  secrets: { token: Redacted.make(token) },
  variables: { shop: "acme" },
  ...more
})
const failed = <E extends { readonly _tag: string }>(effect: Effect.Effect<unknown, E>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)

describe("connections", () => {
  it("keep their secrets in the vault, and give them to a call", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("plain")
        const { connectionId } = yield* connections.connect(tenant, app, bearer("canary-token", { label: "canary-label" }), origin)
        const resolved = yield* connections.resolve(tenant, app)
        assert.deepStrictEqual([resolved.connectionId, resolved.scope, resolved.generation], [connectionId, tenant, 1])
        assert.strictEqual(Redacted.value(resolved.credentials.secrets["token"]!), "canary-token")
        assert.deepStrictEqual(resolved.credentials.variables, { shop: "acme" })
        assert.strictEqual(yield* connections.resolve(tenant, app), resolved)
        assert.notInclude(JSON.stringify(resolved), "canary-token")
        const { events } = yield* (yield* Feed).read({ after: null, limit: 1000 })
        for (const canary of ["canary-token", "canary-label", "acme"]) assert.notInclude(JSON.stringify(events), canary)
      })
    ))
  it("are refused for what does not fit the connector, and nothing is kept", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("strict")
        const wrong = { method: "key", secrets: { tokn: Redacted.make("canary") }, variables: { shop: "ACME", other: "x" } }
        const refused = yield* Effect.flip(connections.connect(tenant, app, wrong, origin))
        assert.strictEqual(refused._tag, "ConnectionInvalid")
        for (const pointer of ["/secrets/tokn", "/secrets/token", "/variables/other", "/variables/shop"])
          assert.include(refused.message, pointer)
        assert.notInclude(refused.message, "canary")
        assert.strictEqual(
          yield* failed(connections.connect(tenant, app, { ...bearer("t"), method: "oauth" }, origin)),
          "ConnectionInvalid"
        )
        assert.strictEqual(yield* failed(connections.connect(tenant, "nope", bearer("t"), origin)), "ConnectorNotFound")
        assert.strictEqual(yield* failed(connections.resolve(tenant, app)), "ConnectionRequired")
      })
    ))
  it("connect once under one Idempotency-Key, and refuse another request under it without touching the secret", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("repeated")
        const first = yield* connections.connect(tenant, app, bearer("right"), keyed("c1"))
        const second = yield* connections.connect(tenant, app, bearer("right"), keyed("c1"))
        assert.strictEqual(second.connectionId, first.connectionId)
        assert.strictEqual(yield* failed(connections.connect(tenant, app, bearer("wrong"), keyed("c1", "other"))), "CommandIdReused")
        const { credentials } = yield* connections.resolve(tenant, app)
        assert.strictEqual(Redacted.value(credentials.secrets["token"]!), "right")
        const rotate = (token: string, hash: string) =>
          connections.rotate(tenant, first.connectionId, { token: Redacted.make(token) }, keyed("c2", hash))
        yield* rotate("newer", "h")
        assert.strictEqual(yield* failed(rotate("wrong", "other")), "CommandIdReused")
        yield* TestClock.adjust("6 minutes")
        const renewed = yield* connections.resolve(tenant, app)
        assert.strictEqual(Redacted.value(renewed.credentials.secrets["token"]!), "newer")
      })
    ))
  it("are chosen in order: explicit, binding, event's, default, the space's", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("ordered")
        const connect = (scope: typeof tenant | typeof space, token: string) =>
          Effect.map(connections.connect(scope, app, bearer(token), origin), ({ connectionId }) => connectionId)
        const fixed = yield* connect(space, "fixed")
        assert.strictEqual((yield* connections.resolve(tenant, app)).connectionId, fixed)
        assert.deepStrictEqual((yield* connections.resolve(tenant, app)).scope, space)
        const one = yield* connect(tenant, "one")
        assert.strictEqual((yield* connections.resolve(tenant, app)).connectionId, one)
        const [two, three, four] = [yield* connect(tenant, "two"), yield* connect(tenant, "three"), yield* connect(tenant, "four")]
        const ambiguous = yield* Effect.flip(connections.resolve(tenant, app))
        assert.strictEqual(ambiguous._tag, "ConnectionAmbiguous")
        for (const id of [one, two, three, four]) assert.include(ambiguous.message, id)
        yield* connections.makeDefault(tenant, one, origin)
        const pick = (choice: object) => Effect.map(connections.resolve(tenant, app, choice), ({ connectionId }) => connectionId)
        assert.strictEqual(yield* pick({}), one)
        assert.strictEqual(yield* pick({ triggering: two }), two)
        assert.strictEqual(yield* pick({ triggering: two, binding: three }), three)
        assert.strictEqual(yield* pick({ triggering: two, binding: three, explicit: four }), four)
        assert.strictEqual(yield* pick({ binding: fixed }), fixed)
        assert.strictEqual(yield* connections.outlook(tenant, app, { binding: three }), three)
      })
    ))
  it("never serve another tenant", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("private")
        const { connectionId } = yield* connections.connect(tenant, app, bearer("mine"), origin)
        for (const choice of [{}, { explicit: connectionId }, { binding: connectionId }, { triggering: connectionId }])
          assert.strictEqual(yield* failed(connections.resolve(otherTenant, app, choice)), "ConnectionRequired")
        for (const change of [
          connections.rotate(otherTenant, connectionId, { token: Redacted.make("stolen") }, origin),
          connections.makeDefault(otherTenant, connectionId, origin),
          connections.revoke(otherTenant, connectionId, "x", origin)
        ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>>)
          assert.strictEqual(yield* failed(change), "ConnectionNotFound")
        assert.strictEqual(Redacted.value((yield* connections.resolve(tenant, app)).credentials.secrets["token"]!), "mine")
      })
    ))
  it("are broken once by refused credentials, and whole again by new ones", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("breaking")
        const { connectionId } = yield* connections.connect(tenant, app, bearer("old"), origin)
        const old = yield* connections.resolve(tenant, app)
        yield* connections.refused(tenant, old, "401")
        yield* connections.refused(tenant, old, "401")
        const required = yield* Effect.flip(connections.resolve(tenant, app))
        assert.deepStrictEqual([required._tag, (required as { why?: string }).why], ["ConnectionRequired", "broken"])
        yield* connections.rotate(tenant, connectionId, { token: Redacted.make("new") }, origin)
        const renewed = yield* connections.resolve(tenant, app)
        assert.strictEqual(Redacted.value(renewed.credentials.secrets["token"]!), "new")
        yield* connections.refused(tenant, old, "a late 401 for the old secret")
        assert.strictEqual(yield* connections.status(tenant, connectionId), "active")
      })
    ))
  it("are revoked with their secrets, and a repeat is no error", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("revoked")
        const { connectionId } = yield* connections.connect(tenant, app, bearer("gone"), origin)
        yield* connections.resolve(tenant, app)
        yield* connections.revoke(tenant, connectionId, "no longer used", origin)
        yield* connections.revoke(tenant, connectionId, "no longer used", origin)
        assert.strictEqual(yield* failed(connections.resolve(tenant, app, { explicit: connectionId })), "ConnectionRequired")
        const vault = yield* Vault
        assert.strictEqual(
          yield* failed(vault.get(tenant, { owner: `integration-${app}`, field: `${connectionId}.token` }, 1)),
          "SecretGone"
        )
      })
    ))
  it("stay opened in memory for at most five minutes", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("forgetful")
        yield* connections.connect(tenant, app, bearer("t"), origin)
        const opened = yield* connections.resolve(tenant, app)
        yield* TestClock.adjust("4 minutes")
        assert.strictEqual(yield* connections.resolve(tenant, app), opened)
        yield* TestClock.adjust("2 minutes")
        assert.notStrictEqual(yield* connections.resolve(tenant, app), opened)
      })
    ))
  it("do not exist under ids of other connectors", () =>
    run((connections) =>
      Effect.gen(function* () {
        const app = yield* connector("named")
        yield* connections.connect(tenant, app, bearer("t"), origin)
        assert.strictEqual(
          yield* failed(connections.resolve(tenant, app, { binding: "erp.aaaaaaaaaaaaaaaa" as ConnectionId })),
          "ConnectionRequired"
        )
      })
    ))
})
