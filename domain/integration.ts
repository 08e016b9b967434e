/** An integration: a tenant's, or the space's own, use of one connector, with all its connections. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectionId, type ConnectorId } from "./ids.ts"
import { SecretVersion } from "./secret-version.ts"

/** Connections of one integration that are not revoked; bounds the stream's state. */
export const connectionsMax = 100
/** Revoked connections that are remembered by id, so that a repeated revoke is no error. */
const revokedMax = 100

export type ConnectionStatus = "active" | "broken"
export interface ConnectionState {
  readonly method: string
  readonly status: ConnectionStatus
  readonly secrets: ReadonlyArray<SecretVersion>
  /** Raised by each authorization and rotation: tells a failure with the old secret from one with the new. */
  readonly generation: number
  /** Sealed JSON of the base URL's variables. */
  readonly variables: string | null
  /** Counts what happened to this connection, from 0: what happens to others of the integration leaves it alone. */
  readonly revision: number
}
export interface Integration {
  readonly connections: Readonly<Record<ConnectionId, ConnectionState>>
  readonly preferred: ConnectionId | null
  readonly revoked: ReadonlyArray<ConnectionId>
  /** A connection became usable, and the runs that wait for one were not told yet: open work. */
  readonly awaited: boolean
}

const Reason = Schema.String.check(Schema.isMaxLength(300))

export type IntegrationCommand = typeof IntegrationCommand.Type
export const IntegrationCommand = Schema.TaggedUnion({
  AuthorizeConnection: {
    connectionId: ConnectionId,
    method: Schema.String,
    secrets: Schema.Array(SecretVersion),
    variables: Schema.optionalKey(Schema.String),
    label: Schema.optionalKey(Schema.String)
  },
  RotateConnectionSecrets: { connectionId: ConnectionId, secrets: Schema.Array(SecretVersion) },
  MakeConnectionDefault: { connectionId: ConnectionId },
  /** `generation`: of the secrets that failed; an older one says nothing about the connection of today. */
  BreakConnection: { connectionId: ConnectionId, generation: Schema.Int, reason: Reason },
  RepairConnection: { connectionId: ConnectionId },
  RevokeConnection: { connectionId: ConnectionId, reason: Reason },
  /** The runs that waited for a connection were told of it. */
  NoteRunsReleased: {}
})

export type IntegrationEvent = typeof IntegrationEvent.Type
export const IntegrationEvent = Schema.TaggedUnion({
  ConnectionAuthorized: {
    connectionId: ConnectionId,
    method: Schema.String,
    secrets: Schema.Array(SecretVersion),
    /** Sealed. */
    variables: Schema.optionalKey(Schema.String),
    /** Sealed. */
    label: Schema.optionalKey(Schema.String)
  },
  ConnectionSecretsRotated: { connectionId: ConnectionId, secrets: Schema.Array(SecretVersion) },
  ConnectionMadeDefault: {
    connectionId: ConnectionId,
    /** The default until then. */
    previous: Schema.optionalKey(ConnectionId)
  },
  ConnectionBroken: { connectionId: ConnectionId, reason: Reason },
  ConnectionRepaired: { connectionId: ConnectionId },
  ConnectionRevoked: { connectionId: ConnectionId, reason: Reason },
  WaitingRunsReleased: {}
})
const cases = IntegrationEvent.cases

export class ConnectionNotFound extends Schema.TaggedError<ConnectionNotFound>()("ConnectionNotFound", { connectionId: ConnectionId }) {
  override get message() {
    return `The connection ${this.connectionId} does not exist here, or it was revoked. Nothing was changed. Check the id, or connect first.`
  }
}
export class ConnectionExists extends Schema.TaggedError<ConnectionExists>()("ConnectionExists", { connectionId: ConnectionId }) {
  override get message() {
    return `The connection ${this.connectionId} exists already with other credentials. Nothing was changed. Rotate its secrets instead.`
  }
}
export class TooManyConnections extends Schema.TaggedError<TooManyConnections>()("TooManyConnections", { limit: Schema.Int }) {
  override get message() {
    return `This integration has ${this.limit} connections already, which is the most. Nothing was changed. Revoke one that is not needed.`
  }
}
export type IntegrationRejection = ConnectionNotFound | ConnectionExists | TooManyConnections

/** A connection that is not revoked. */
export const connectionOf = ({ connections }: Integration, connectionId: ConnectionId): ConnectionState | undefined =>
  Object.hasOwn(connections, connectionId) ? connections[connectionId] : undefined

type Decision = Result.Result<ReadonlyArray<IntegrationEvent>, IntegrationRejection>

/** Decides about a connection that has to exist. */
const about = (
  state: Integration,
  connectionId: ConnectionId,
  decide: (connection: ConnectionState) => ReadonlyArray<IntegrationEvent>
): Decision => {
  const connection = connectionOf(state, connectionId)
  return connection === undefined ? Result.fail(new ConnectionNotFound({ connectionId })) : Result.succeed(decide(connection))
}

const sameSecrets = (left: ReadonlyArray<SecretVersion>, right: ReadonlyArray<SecretVersion>): boolean =>
  left.length === right.length &&
  left.every((secret) => right.some(({ field, fingerprint }) => field === secret.field && fingerprint === secret.fingerprint))

/** The rotated secrets in place of the ones of the same field. */
const merged = (old: ReadonlyArray<SecretVersion>, rotated: ReadonlyArray<SecretVersion>): ReadonlyArray<SecretVersion> => [
  ...old.filter(({ field }) => !rotated.some((secret) => secret.field === field)),
  ...rotated
]

const without = <Value>(record: Readonly<Record<string, Value>>, key: string): Readonly<Record<string, Value>> => {
  const { [key]: _, ...rest } = record
  return rest
}

const patched = (state: Integration, connectionId: ConnectionId, patch: Partial<ConnectionState>): Integration => {
  const connection = state.connections[connectionId]
  if (connection === undefined) return state
  const changed = { ...connection, ...patch, revision: connection.revision + 1 }
  return { ...state, connections: { ...state.connections, [connectionId]: changed } }
}

/** -1: there is no such connection, or not any more. */
export const connectionRevision = (state: Integration, connectionId: ConnectionId): number =>
  connectionOf(state, connectionId)?.revision ?? -1

export const integration: Aggregate<Integration, IntegrationCommand, IntegrationEvent, IntegrationRejection> = {
  kind: "integration",
  version: 2,
  events: eventFamily(IntegrationEvent),
  initialState: { connections: {}, preferred: null, revoked: [], awaited: false },
  workDue: (state) => (state.awaited ? 0 : null),
  decide: (command, state): Decision =>
    IntegrationCommand.match(command, {
      AuthorizeConnection: ({ _tag: _, ...authorized }) => {
        const known = state.connections[authorized.connectionId]
        if (known !== undefined) {
          return known.method === authorized.method && sameSecrets(known.secrets, authorized.secrets)
            ? Result.succeed([])
            : Result.fail(new ConnectionExists({ connectionId: authorized.connectionId }))
        }
        return Object.keys(state.connections).length >= connectionsMax
          ? Result.fail(new TooManyConnections({ limit: connectionsMax }))
          : Result.succeed([cases.ConnectionAuthorized.make(authorized)])
      },
      RotateConnectionSecrets: ({ connectionId, secrets }) =>
        about(state, connectionId, (connection) => {
          if (connection.status === "active" && sameSecrets(connection.secrets, merged(connection.secrets, secrets))) return []
          const rotated = cases.ConnectionSecretsRotated.make({ connectionId, secrets })
          return connection.status === "broken" ? [rotated, cases.ConnectionRepaired.make({ connectionId })] : [rotated]
        }),
      MakeConnectionDefault: ({ connectionId }) =>
        about(state, connectionId, () => {
          if (state.preferred === connectionId) return []
          const previous = state.preferred === null ? {} : { previous: state.preferred }
          return [cases.ConnectionMadeDefault.make({ connectionId, ...previous })]
        }),
      BreakConnection: ({ connectionId, generation, reason }) =>
        about(state, connectionId, (connection) =>
          connection.status === "broken" || generation < connection.generation
            ? []
            : [cases.ConnectionBroken.make({ connectionId, reason })]
        ),
      RepairConnection: ({ connectionId }) =>
        about(state, connectionId, ({ status }) => (status === "active" ? [] : [cases.ConnectionRepaired.make({ connectionId })])),
      RevokeConnection: ({ connectionId, reason }) =>
        state.revoked.includes(connectionId)
          ? Result.succeed([])
          : about(state, connectionId, () => [cases.ConnectionRevoked.make({ connectionId, reason })]),
      NoteRunsReleased: () => Result.succeed(state.awaited ? [cases.WaitingRunsReleased.make({})] : [])
    }),
  evolve: (state, event) =>
    IntegrationEvent.match(event, {
      ConnectionAuthorized: ({ connectionId, method, secrets, variables }): Integration => ({
        ...state,
        awaited: true,
        connections: {
          ...state.connections,
          [connectionId]: { method, status: "active", secrets, generation: 1, variables: variables ?? null, revision: 0 }
        }
      }),
      ConnectionSecretsRotated: ({ connectionId, secrets }) => {
        const known = state.connections[connectionId]
        return known === undefined
          ? state
          : patched(state, connectionId, { secrets: merged(known.secrets, secrets), generation: known.generation + 1 })
      },
      ConnectionMadeDefault: ({ connectionId, previous }) => {
        const before = previous === undefined ? state : patched(state, previous, {})
        return { ...patched(before, connectionId, {}), preferred: connectionId }
      },
      ConnectionBroken: ({ connectionId }) => patched(state, connectionId, { status: "broken" }),
      ConnectionRepaired: ({ connectionId }) => ({ ...patched(state, connectionId, { status: "active" }), awaited: true }),
      WaitingRunsReleased: () => ({ ...state, awaited: false }),
      ConnectionRevoked: ({ connectionId }) => ({
        ...state,
        connections: without(state.connections, connectionId),
        preferred: state.preferred === connectionId ? null : state.preferred,
        revoked: [...state.revoked, connectionId].slice(-revokedMax)
      })
    })
}

/** The connector that a connection belongs to, from its id. */
export const connectorOf = (connectionId: ConnectionId): ConnectorId => connectionId.slice(0, connectionId.lastIndexOf(".")) as ConnectorId

/** Which connection a scope uses when nobody names one. */
export type Chosen =
  | { readonly kind: "one"; readonly connectionId: ConnectionId }
  | { readonly kind: "none" }
  | { readonly kind: "ambiguous"; readonly connectionIds: ReadonlyArray<ConnectionId> }

/** The default, or the only one; a broken one counts, because silently using another account would be worse. */
export const chosen = (state: Integration): Chosen => {
  if (state.preferred !== null) return { kind: "one", connectionId: state.preferred }
  const connectionIds = Object.keys(state.connections) as Array<ConnectionId>
  if (connectionIds.length > 1) return { kind: "ambiguous", connectionIds }
  return connectionIds.length === 1 ? { kind: "one", connectionId: connectionIds[0]! } : { kind: "none" }
}
