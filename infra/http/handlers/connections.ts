/** Answers for connections. */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type { ConnectionId, ConnectorId } from "#domain/ids.ts"
import { ConnectionNotFound } from "#domain/integration.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import { type ConnectionView, connections as view } from "#projections/connections.ts"
import { type Connected, Connections, type NewConnection } from "#services/connections.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Api } from "../api/api.ts"
import { AccountNotYours } from "../api/connections.ts"
import { Caller, CurrentTenant } from "../api/guards.ts"
import { findViews, getView, type PageRequest, pageAnswer, whereBetween, whereEqual } from "./pages.ts"
import { answerRevision } from "./revisions.ts"

interface ListQuery extends PageRequest {
  readonly connector?: ConnectorId
  readonly status?: ConnectionView["status"]
  readonly since?: number
  readonly until?: number
}
interface Asked {
  readonly params: { readonly id: ConnectionId }
}

/** A connection that is revoked has no revision to go on from. */
const changed = ({ connectionId, revision }: Connected) =>
  Effect.as(revision < 0 ? Effect.void : answerRevision(revision), { connectionId })
const reasonDefault = "Revoked through the API"

/** The same answers for a tenant and for the space: only the scope differs. */
const answersIn = <R>(
  connections: Connections["Service"],
  views: ViewServer["Service"],
  scoped: Effect.Effect<SpaceScope | TenantScope, never, R>
) => ({
  list: ({ query: { connector, status, since, until, ...page } }: { readonly query: ListQuery }) =>
    Effect.gen(function* () {
      const scope = yield* scoped
      const where = [...whereEqual({ connectorId: connector, status }), ...whereBetween("connectedAt", since, until)]
      const found = yield* findViews(views, view, { scope, where }, page)
      return yield* pageAnswer({ items: yield* connections.open(scope, found.items), next: found.next })
    }),
  get: ({ params }: Asked) =>
    Effect.gen(function* () {
      const scope = yield* scoped
      const found = yield* getView(views, view, scope, params.id)
      const [opened] = found === null ? [] : yield* connections.open(scope, [found])
      if (opened === undefined) return yield* new ConnectionNotFound({ connectionId: params.id })
      yield* answerRevision(opened.revision)
      return opened
    }),
  connect: ({ payload: { connector, ...connection } }: { readonly payload: NewConnection & { readonly connector: ConnectorId } }) =>
    Effect.gen(function* () {
      const { origin, principal } = yield* Caller
      if (connection.account !== undefined && principal.tenant !== undefined) return yield* new AccountNotYours()
      return yield* changed(yield* connections.connect(yield* scoped, connector, connection, origin))
    }),
  rotate: ({ params, payload }: Asked & { readonly payload: { readonly secrets: Readonly<Record<string, Redacted.Redacted<string>>> } }) =>
    Effect.gen(function* () {
      const { expecting, origin } = yield* Caller
      return yield* changed(yield* connections.rotate(yield* scoped, params.id, payload.secrets, origin, expecting))
    }),
  makeDefault: ({ params }: Asked) =>
    Effect.gen(function* () {
      const { expecting, origin } = yield* Caller
      return yield* changed(yield* connections.makeDefault(yield* scoped, params.id, origin, expecting))
    }),
  revoke: ({ params, query }: Asked & { readonly query: { readonly reason?: string } }) =>
    Effect.gen(function* () {
      const { expecting, origin } = yield* Caller
      return yield* changed(yield* connections.revoke(yield* scoped, params.id, query.reason ?? reasonDefault, origin, expecting))
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
