/** Answers for connections. */
import { Effect, Layer, type Redacted } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import type { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { ConnectionNotFound } from "#domain/integration.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import { type ConnectionView, connections as view } from "#projections/connections.ts"
import { type Connected, Connections, type NewConnection } from "#services/connections.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, getView, type PageRequest, pageAnswer, whereEqual } from "./pages.ts"

interface ListQuery extends PageRequest {
  readonly connector?: ConnectorId
  readonly status?: ConnectionView["status"]
}
interface Asked {
  readonly params: { readonly id: ConnectionId }
}

const changedBody = ({ connectionId }: Connected) => ({ connectionId })
const reasonDefault = "Revoked through the API"

/** The same answers for a tenant and for the space: only the scope differs. */
const answersIn = <R>(
  connections: Connections["Service"],
  views: ViewServer["Service"],
  scoped: Effect.Effect<SpaceScope | TenantScope, never, R>
) => ({
  list: ({ query: { connector, status, ...page } }: { readonly query: ListQuery }) =>
    Effect.gen(function* () {
      const scope = yield* scoped
      const where = whereEqual({ connectorId: connector, status })
      const found = yield* findViews(views, view, { scope, where, sort: ["connectedAt"] }, page)
      return yield* pageAnswer({ items: yield* connections.open(scope, found.items), next: found.next })
    }),
  get: ({ params }: Asked) =>
    Effect.gen(function* () {
      const scope = yield* scoped
      const found = yield* getView(views, view, scope, params.id)
      const [opened] = found === null ? [] : yield* connections.open(scope, [found])
      return opened ?? (yield* new ConnectionNotFound({ connectionId: params.id }))
    }),
  connect: ({ payload: { connector, ...connection } }: { readonly payload: NewConnection & { readonly connector: ConnectorId } }) =>
    Effect.gen(function* () {
      const { origin } = yield* Caller
      return changedBody(yield* connections.connect(yield* scoped, connector, connection, origin))
    }),
  rotate: ({ params, payload }: Asked & { readonly payload: { readonly secrets: Readonly<Record<string, Redacted.Redacted<string>>> } }) =>
    Effect.gen(function* () {
      const { origin } = yield* Caller
      return changedBody(yield* connections.rotate(yield* scoped, params.id, payload.secrets, origin))
    }),
  makeDefault: ({ params }: Asked) =>
    Effect.gen(function* () {
      const { origin } = yield* Caller
      return changedBody(yield* connections.makeDefault(yield* scoped, params.id, origin))
    }),
  revoke: ({ params, query }: Asked & { readonly query: { readonly reason?: string } }) =>
    Effect.gen(function* () {
      const { origin } = yield* Caller
      return changedBody(yield* connections.revoke(yield* scoped, params.id, query.reason ?? reasonDefault, origin))
    })
})

const ofSpace = Effect.map(Caller, ({ space }) => space)

const fixed = HttpApiBuilder.group(
  Api,
  "fixedConnections",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(answersIn(yield* Connections, yield* ViewServer, ofSpace))
  })
)
const own = HttpApiBuilder.group(
  Api,
  "connections",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(answersIn(yield* Connections, yield* ViewServer, CurrentTenant))
  })
)
const alias = HttpApiBuilder.group(
  Api,
  "credentials",
  Effect.fnUntraced(function* (handlers) {
    return handlers.handleAll(answersIn(yield* Connections, yield* ViewServer, CurrentTenant))
  })
)

export const layer = Layer.mergeAll(fixed, own, alias)
