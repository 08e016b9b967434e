import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { afterAll, assert, describe, it } from "vitest"
import type { ConnectionId, EndpointId, TenantKey } from "#domain/ids.ts"
import { type SpaceScope, type TenantScope, tenantScope } from "#domain/scope.ts"
import { Connections } from "#services/connections.ts"
import type { ActiveEndpoint } from "#services/endpoints.ts"
import { Endpoints } from "#services/endpoints.ts"
import { Spaces } from "#services/spaces.ts"
import { Transact } from "#services/transact.ts"
import { integrationServices, keyed, origin, otherTenant } from "../support/integration-services.ts"

const runtime = ManagedRuntime.make(integrationServices)
afterAll(() => runtime.dispose())
const run = <A, E>(
  effect: (endpoints: Endpoints["Service"], tenant: TenantScope, space: SpaceScope) => Effect.Effect<A, E, Transact | Connections>
) =>
  runtime.runPromise(
    Effect.gen(function* () {
      const space = yield* (yield* Spaces).ensureDefault
      return yield* effect(yield* Endpoints, tenantScope(space.space, otherTenant.key), space)
    })
  )
const opened = (found: ActiveEndpoint | undefined) => found?.secrets.map((secret) => Redacted.value(secret))
const failed = <E extends { readonly _tag: string }>(effect: Effect.Effect<unknown, E>) =>
  Effect.map(Effect.flip(effect), ({ _tag }) => _tag)
const secret = (text: string) => Redacted.make(text)

describe("endpoints", () => {
  it("are found by their id alone, with the vendor's secret", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const {
          endpointId,
          path,
          secret: made
        } = yield* endpoints.create(tenant, { connectorId: "shop", secret: secret("app-secret") }, origin)
        assert.deepStrictEqual([path, made], [`/hooks/${endpointId}`, null])
        const found = yield* endpoints.find(endpointId)
        assert.deepStrictEqual([found?.scope, found?.connectorId, found?.connectionId], [tenant, "shop", null] as never)
        assert.deepStrictEqual(opened(found), ["app-secret"])
        assert.strictEqual(yield* endpoints.find(endpointId), found)
      })
    ))
  it("make a secret when the vendor gives none, and show it once", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const created = yield* endpoints.create(tenant, { connectorId: "shop" }, keyed("e1"))
        const text = Redacted.value(created.secret!)
        assert.match(text, /^[a-z2-7]{32}$/u)
        assert.deepStrictEqual(opened(yield* endpoints.find(created.endpointId)), [text])
        const repeated = yield* endpoints.create(tenant, { connectorId: "shop" }, keyed("e1"))
        assert.deepStrictEqual([repeated.endpointId, repeated.secret], [created.endpointId, null])
        assert.deepStrictEqual(opened(yield* endpoints.find(created.endpointId)), [text])
      })
    ))
  it("accept the old secret beside the new one until it is removed", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const { endpointId } = yield* endpoints.create(tenant, { connectorId: "shop", secret: secret("one") }, origin)
        const { field } = yield* endpoints.rotate(endpointId, secret("two"), origin)
        assert.deepStrictEqual([field, opened(yield* endpoints.find(endpointId))], ["secret-2", ["one", "two"]])
        yield* endpoints.removeSecret(endpointId, "secret-1", origin)
        assert.deepStrictEqual(opened(yield* endpoints.find(endpointId)), ["two"])
        assert.strictEqual(yield* failed(endpoints.removeSecret(endpointId, "secret-2", origin)), "LastEndpointSecret")
      })
    ))
  it("rotate once under one Idempotency-Key, and never answer with a secret that does not hold", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const { endpointId } = yield* endpoints.create(tenant, { connectorId: "shop", secret: secret("one") }, origin)
        const first = yield* endpoints.rotate(endpointId, undefined, keyed("r1"))
        const again = yield* endpoints.rotate(endpointId, undefined, keyed("r1"))
        assert.deepStrictEqual([again.field, again.secret], [first.field, null])
        assert.deepStrictEqual(opened(yield* endpoints.find(endpointId)), ["one", Redacted.value(first.secret!)])
        assert.strictEqual(yield* failed(endpoints.rotate(endpointId, secret("x"), keyed("r1", "other"))), "CommandIdReused")
      })
    ))
  it("are gone at once when they are removed, and a repeat is no error", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const { endpointId } = yield* endpoints.create(tenant, { connectorId: "shop", secret: secret("x") }, origin)
        yield* endpoints.find(endpointId)
        yield* endpoints.remove(endpointId, origin)
        yield* endpoints.remove(endpointId, origin)
        assert.isUndefined(yield* endpoints.find(endpointId))
        assert.strictEqual(yield* failed(endpoints.rotate(endpointId, undefined, origin)), "EndpointNotFound")
      })
    ))
  it("that do not exist leave nothing in memory", () =>
    run((endpoints, tenant) =>
      Effect.gen(function* () {
        const { figures } = yield* Transact
        const before = figures().streams
        for (let number = 0; number < 300; number++) {
          const suffix = number
            .toString(26)
            .replace(/\d/gu, (digit) => String.fromCharCode(97 + Number(digit)))
            .padStart(16, "z")
          assert.isUndefined(yield* endpoints.find(`${tenant.key}${suffix}`))
        }
        assert.strictEqual(figures().streams, before)
        for (const wrong of ["", "x", "../../etc/passwd", "%00", `${tenant.key}`, `s${"z".repeat(35)}`, "t".repeat(10_000)])
          assert.isUndefined(yield* endpoints.find(wrong))
      })
    ))
  it("are refused where they could not work", () =>
    run((endpoints, tenant, space) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* failed(endpoints.create(tenant, { connectorId: "erp" }, origin)), "ConnectionInvalid")
        assert.strictEqual(yield* failed(endpoints.create(tenant, { connectorId: "nope" }, origin)), "ConnectorNotFound")
        assert.strictEqual(
          yield* failed(endpoints.create(tenant, { connectorId: "shop", secret: secret("") }, origin)),
          "ConnectionInvalid"
        )
        // A shop's calls name no tenant in a place that the manifest knows.
        assert.strictEqual(
          yield* failed(endpoints.create(space, { connectorId: "shop", secret: secret("x") }, origin)),
          "ConnectionInvalid"
        )
        assert.strictEqual(
          yield* failed(endpoints.remove(`szzzzbbbbccccddddeee${"a".repeat(16)}` as EndpointId, origin)),
          "EndpointNotFound"
        )
      })
    ))
  it("belong to a connection that is there, of the tenant or for all of the space's", () =>
    run((endpoints, tenant, space) =>
      Effect.gen(function* () {
        const connections = yield* Connections
        const connect = (scope: TenantScope | SpaceScope) =>
          connections.connect(scope, "shop", { method: "token", secrets: { apiKey: secret("k") }, variables: { shop: "acme" } }, origin)
        const create = (scope: TenantScope, connectionId: ConnectionId) =>
          endpoints.create(scope, { connectorId: "shop", connectionId, secret: secret("x") }, origin)
        const theirs = (yield* connect(otherTenant)).connectionId
        const fixed = (yield* connect(space)).connectionId
        const stranger = tenantScope(space.space, "tccccccccccccddddeee" as TenantKey)
        for (const connectionId of [theirs, fixed]) {
          const { endpointId } = yield* create(tenant, connectionId)
          assert.strictEqual((yield* endpoints.find(endpointId))?.connectionId, connectionId)
        }
        for (const connectionId of [theirs, "shop.aaaaaaaaaaaaaaaa" as ConnectionId, "erp.aaaaaaaaaaaaaaaa" as ConnectionId])
          assert.strictEqual(yield* failed(create(stranger, connectionId)), "ConnectionInvalid")
        yield* connections.revoke(tenant, theirs, "gone", origin)
        assert.strictEqual(yield* failed(create(tenant, theirs)), "ConnectionInvalid")
      })
    ))
})
