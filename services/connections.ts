/** Connections: connecting an app, keeping its secrets in the vault, and finding the one that a call has to use. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { ConnectorNotFound } from "#domain/connector.ts"
import { Finding, listed } from "#domain/finding.ts"
import { type ConnectionId, ConnectorId, type Position } from "#domain/ids.ts"
import {
  type ConnectionExists,
  ConnectionNotFound,
  type ConnectionState,
  type ConnectionStatus,
  connectionOf,
  connectionRevision,
  connectorOf,
  type Integration,
  type IntegrationCommand,
  type IntegrationRejection,
  integration,
  type TooManyConnections
} from "#domain/integration.ts"
import { type AuthMethod, secretFieldsOf } from "#domain/manifest.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import type { SpaceScope, TenantScope } from "#domain/scope.ts"
import type { SecretVersion } from "#domain/secret-version.ts"
import type { ConnectionView } from "#projections/connections.ts"
import { Accounts, type AccountTaken } from "./accounts.ts"
import type { CompiledConnector } from "./compiled-connector.ts"
import { type ConnectionAmbiguous, type ConnectionChoice, type ConnectionRequired, connectionPicker } from "./connection-choice.ts"
import { Connectors } from "./connectors.ts"
import { type Credentials, secretFindings, variableFindings } from "./credentials.ts"
import { ExpiringCache, openedSecretMillis, sweepEveryMillis } from "./expiring-cache.ts"
import { digest26 } from "./identities.ts"
import { Entropy } from "./ports/entropy.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { type SecretGone, Vault } from "./ports/vault.ts"
import { type Expecting, type RevisionMismatch, Transact, type TransactError } from "./transact.ts"

type Scoped = SpaceScope | TenantScope
type SecretValues = Readonly<Record<string, Redacted.Redacted<string>>>

/** Opened connections in memory. */
const openedMax = 10_000

/** What somebody entered does not fit the connector. Secrets are never repeated. */
export class ConnectionInvalid extends Schema.TaggedError<ConnectionInvalid>()("ConnectionInvalid", {
  connectorId: ConnectorId,
  findings: Schema.Array(Finding)
}) {
  override get message() {
    return `This does not connect ${this.connectorId}. Nothing was changed. ${listed(this.findings)}`
  }
}

export interface NewConnection {
  readonly method: string
  readonly secrets: SecretValues
  readonly variables?: Readonly<Record<string, string>> | undefined
  readonly label?: string | undefined
  readonly makeDefault?: boolean | undefined
  /** The vendor's own name of the tenant: shared endpoints find it by this. */
  readonly account?: string | undefined
}
export interface Connected {
  readonly connectionId: ConnectionId
  /** Of the connection; -1 once it is revoked. */
  readonly revision: number
  readonly position: Position | null
}
/** A connection ready for a call. The same object as long as nothing changed. */
export interface ResolvedConnection {
  readonly connectionId: ConnectionId
  /** Where it lives: the tenant, or the space for a fixed one. */
  readonly scope: Scoped
  readonly generation: number
  readonly credentials: Credentials
}
/** A connection with its names in the clear, for who asked; secrets by fingerprint alone. */
export type ConnectionDetails = Omit<ConnectionView, "label" | "variables"> & {
  readonly label: string | null
  readonly variables: Readonly<Record<string, string>>
}

type Unavailable = TransactError | VaultUnavailable
type Unresolved = ConnectionRequired | ConnectionAmbiguous

export class Connections extends Context.Service<
  Connections,
  {
    /** The account is claimed first. Secrets go to the vault, then the connection is recorded. A repeat under one Idempotency-Key connects once. */
    readonly connect: (
      scope: Scoped,
      connectorId: string,
      connection: NewConnection,
      origin: Origin
    ) => Effect.Effect<
      Connected,
      ConnectorNotFound | ConnectionInvalid | AccountTaken | ConnectionExists | TooManyConnections | Unavailable
    >
    /** Replaces secrets; a broken connection is active again after it. */
    readonly rotate: (
      scope: Scoped,
      connectionId: ConnectionId,
      secrets: SecretValues,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<Connected, ConnectorNotFound | ConnectionNotFound | ConnectionInvalid | RevisionMismatch | Unavailable>
    readonly makeDefault: (
      scope: Scoped,
      connectionId: ConnectionId,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<Connected, ConnectionNotFound | RevisionMismatch | TransactError>
    /** Records it, then removes its secrets from the vault. Repeatable. */
    readonly revoke: (
      scope: Scoped,
      connectionId: ConnectionId,
      reason: string,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<Connected, ConnectionNotFound | RevisionMismatch | Unavailable>
    /** Whether a connection can be used; undefined: there is none of this id. */
    readonly status: (scope: Scoped, connectionId: ConnectionId) => Effect.Effect<ConnectionStatus | undefined, TransactError>
    /** The connection for a call: the choice's, else the tenant's default or only one, else the space's fixed one; with its secrets. */
    readonly resolve: (
      scope: TenantScope,
      connectorId: ConnectorId,
      choice?: ConnectionChoice
    ) => Effect.Effect<ResolvedConnection, Unresolved | SecretGone | Unavailable>
    /** Like `resolve`, without opening anything: what a call would have to wait for. */
    readonly outlook: (
      scope: TenantScope,
      connectorId: ConnectorId,
      choice?: ConnectionChoice
    ) => Effect.Effect<ConnectionId, Unresolved | TransactError>
    /** The vendor did not accept these credentials: broken, once, unless they were replaced meanwhile. */
    readonly refused: (scope: TenantScope, connection: ResolvedConnection, reason: string) => Effect.Effect<void, TransactError>
    /** It works after all. */
    readonly repaired: (
      scope: Scoped,
      connectionId: ConnectionId,
      origin: Origin
    ) => Effect.Effect<Connected, ConnectionNotFound | TransactError>
    /** Opens labels and variables of one page of the view; one whose keys are gone shows none. */
    readonly open: (
      scope: Scoped,
      views: ReadonlyArray<ConnectionView>
    ) => Effect.Effect<ReadonlyArray<ConnectionDetails>, VaultUnavailable>
  }
>()("tributary/services/Connections") {
  static readonly layer = Layer.effect(
    Connections,
    Effect.suspend(() => make)
  )
}

const owner = (connectorId: ConnectorId) => `integration-${connectorId}` as const
const secretField = (connectionId: ConnectionId, field: string): string => `${connectionId}.${field}`
const methodOf = ({ manifest }: CompiledConnector, name: string): AuthMethod | undefined =>
  Object.hasOwn(manifest.auth, name) ? manifest.auth[name] : undefined

const make = Effect.gen(function* () {
  const { read, transact } = yield* Transact
  const accounts = yield* Accounts
  const connectors = yield* Connectors
  const entropy = yield* Entropy
  const vault = yield* Vault
  // Two rotations that pass the same expectation would both be told that they succeeded: one at a time.
  const rotating = yield* Semaphore.make(1)
  const opened = new ExpiringCache<string, ResolvedConnection>(openedMax, openedSecretMillis)
  const openedKey = (scope: Scoped, connectionId: ConnectionId) => `${scope.key}/${connectionId}`
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.map(Clock.currentTimeMillis, (now) => opened.sweep(now)),
      Schedule.spaced(sweepEveryMillis)
    )
  )

  const pick = connectionPicker((scope, connectorId) => Effect.map(read(integration, scope, connectorId), ({ state }) => state))

  const seal = (scope: Scoped, connectorId: ConnectorId, field: string, text: string) =>
    vault.sealField(scope, `${owner(connectorId)}.${field}`, text)
  const openField = (scope: Scoped, connectorId: ConnectorId, field: string, sealed: string) =>
    vault.openField(scope, `${owner(connectorId)}.${field}`, sealed)

  const store = (scope: Scoped, connectionId: ConnectionId, secrets: SecretValues) =>
    Effect.forEach(
      Object.entries(secrets),
      ([field, secret]): Effect.Effect<SecretVersion, VaultUnavailable> =>
        Effect.map(
          vault.put(scope, { owner: owner(connectorOf(connectionId)), field: secretField(connectionId, field) }, secret),
          (stored) => ({ field, ...stored })
        )
    )

  /** An expected revision is that of the connection. */
  const about = (connectionId: ConnectionId, origin: Origin, expecting: Expecting) => ({
    origin,
    ...expecting,
    revisionOf: (state: Integration) => connectionRevision(state, connectionId)
  })

  /** `RevisionMismatch` is among the rejections of those that may expect a revision. */
  const change = <Rejection extends IntegrationRejection | RevisionMismatch>(
    scope: Scoped,
    connectionId: ConnectionId,
    command: IntegrationCommand | ReadonlyArray<IntegrationCommand>,
    origin: Origin,
    expecting: Expecting = {}
  ): Effect.Effect<Connected, Rejection | TransactError> =>
    transact(integration, scope, connectorOf(connectionId), command, about(connectionId, origin, expecting)).pipe(
      Effect.map(({ state, position }) => ({ connectionId, revision: connectionRevision(state, connectionId), position })),
      Effect.tap(() => Effect.sync(() => opened.delete(openedKey(scope, connectionId))))
    ) as Effect.Effect<Connected, Rejection | TransactError>

  /**
   * What a request did before, so that its repeat stores nothing again; its key under another request is refused here, and so is
   * another revision than the expected one.
   */
  const carriedOut = (scope: Scoped, connectionId: ConnectionId, origin: Origin, expecting: Expecting = {}) =>
    origin.commandId === undefined && expecting.ifRevision === undefined
      ? Effect.undefined
      : transact(integration, scope, connectorOf(connectionId), [], about(connectionId, origin, expecting)).pipe(
          Effect.map(({ state, position, repeated }) =>
            repeated ? { connectionId, revision: connectionRevision(state, connectionId), position } : undefined
          ),
          // Without a command there is nothing to reject.
          Effect.catchTag(["ConnectionNotFound", "ConnectionExists", "TooManyConnections"], Effect.die)
        )

  /** A repeated request has to find the connection that the first one made. */
  const newId = (scope: Scoped, connectorId: ConnectorId, { commandId }: Origin): ConnectionId => {
    const suffix =
      commandId === undefined ? entropy.base32(16) : digest26(`connection\n${scope.key}\n${connectorId}\n${commandId}`).slice(0, 16)
    return `${connectorId}.${suffix}` as ConnectionId
  }

  const checked = (compiled: CompiledConnector, connection: NewConnection): Effect.Effect<void, ConnectionInvalid> => {
    const method = methodOf(compiled, connection.method)
    const known = Object.keys(compiled.manifest.auth).join(", ")
    const findings =
      method === undefined
        ? [{ pointer: "/method", message: `There is no such auth method. The connector has: ${known}.` }]
        : [...secretFindings(method, connection.secrets), ...variableFindings(compiled.manifest, connection.variables ?? {})]
    return findings.length === 0 ? Effect.void : Effect.fail(new ConnectionInvalid({ connectorId: compiled.id, findings }))
  }

  const claimAccount = (scope: Scoped, connectorId: ConnectorId, account: string, origin: Origin) =>
    scope.level === "tenant"
      ? accounts.claim(scope, connectorId, account, origin)
      : Effect.fail(
          new ConnectionInvalid({
            connectorId,
            findings: [{ pointer: "/account", message: "An account belongs to a tenant. Leave it out for a connection of the space." }]
          })
        )

  const connect = Effect.fn("Connections.connect")(function* (
    scope: Scoped,
    connectorId: string,
    connection: NewConnection,
    origin: Origin
  ) {
    const compiled = yield* connectors.compiled(scope, connectorId)
    yield* checked(compiled, connection)
    const connectionId = newId(scope, compiled.id, origin)
    // No revision is expected of what is new.
    const earlier = yield* Effect.catchTag(carriedOut(scope, connectionId, origin), "RevisionMismatch", Effect.die)
    if (earlier !== undefined) return earlier
    if (connection.account !== undefined) yield* claimAccount(scope, compiled.id, connection.account, origin)
    const secrets = yield* store(scope, connectionId, connection.secrets)
    const { variables, label } = connection
    const authorize = {
      _tag: "AuthorizeConnection" as const,
      connectionId,
      method: connection.method,
      secrets,
      ...(variables === undefined ? {} : { variables: yield* seal(scope, compiled.id, "variables", JSON.stringify(variables)) }),
      ...(label === undefined ? {} : { label: yield* seal(scope, compiled.id, "label", label) })
    }
    const commands: ReadonlyArray<IntegrationCommand> =
      connection.makeDefault === true ? [authorize, { _tag: "MakeConnectionDefault", connectionId }] : [authorize]
    return yield* change<ConnectionExists | TooManyConnections>(scope, connectionId, commands, origin)
  })

  /** A new secret takes the old one's place in the vault before that is recorded: the expected revision is checked before. */
  const rotate = Effect.fn("Connections.rotate")(function* (
    scope: Scoped,
    connectionId: ConnectionId,
    secrets: SecretValues,
    origin: Origin,
    expecting?: Expecting
  ) {
    const compiled = yield* connectors.compiled(scope, connectorOf(connectionId))
    const { state } = yield* read(integration, scope, compiled.id)
    const known = connectionOf(state, connectionId)
    if (known === undefined) return yield* new ConnectionNotFound({ connectionId })
    const method = methodOf(compiled, known.method)
    const findings = method === undefined ? [] : secretFindings(method, secrets)
    if (findings.length > 0) return yield* new ConnectionInvalid({ connectorId: compiled.id, findings })
    const earlier = yield* carriedOut(scope, connectionId, origin, expecting)
    if (earlier !== undefined) return earlier
    const stored = yield* store(scope, connectionId, secrets)
    return yield* change<ConnectionNotFound>(
      scope,
      connectionId,
      { _tag: "RotateConnectionSecrets", connectionId, secrets: stored },
      origin
    )
  })

  const revoke = Effect.fn("Connections.revoke")(function* (
    scope: Scoped,
    connectionId: ConnectionId,
    reason: string,
    origin: Origin,
    expecting?: Expecting
  ) {
    const connectorId = connectorOf(connectionId)
    const command = { _tag: "RevokeConnection" as const, connectionId, reason }
    const done = yield* change<ConnectionNotFound | RevisionMismatch>(scope, connectionId, command, origin, expecting)
    // Of every method, as a repeat no longer knows which it was; removing what is not there is no error.
    const compiled = yield* Effect.catchTag(connectors.compiled(scope, connectorId), "ConnectorNotFound", () => Effect.undefined)
    const fields = new Set(Object.values(compiled?.manifest.auth ?? {}).flatMap(secretFieldsOf))
    for (const field of fields) yield* vault.remove(scope, { owner: owner(connectorId), field: secretField(connectionId, field) })
    return done
  })

  const openSecrets = Effect.fnUntraced(function* (
    scope: Scoped,
    connectorId: ConnectorId,
    connectionId: ConnectionId,
    found: ConnectionState
  ) {
    const secrets: Record<string, Redacted.Redacted<string>> = {}
    for (const { field, version } of found.secrets) {
      secrets[field] = yield* vault.get(scope, { owner: owner(connectorId), field: secretField(connectionId, field) }, version)
    }
    const variables = found.variables === null ? "{}" : yield* openField(scope, connectorId, "variables", found.variables)
    return { method: found.method, secrets, variables: JSON.parse(variables) as Record<string, string> } satisfies Credentials
  })

  const resolve = Effect.fnUntraced(function* (scope: TenantScope, connectorId: ConnectorId, choice: ConnectionChoice = {}) {
    const picked = yield* pick(scope, connectorId, choice)
    const { connectionId, found } = picked
    const now = yield* Clock.currentTimeMillis
    const key = openedKey(picked.scope, connectionId)
    const known = opened.get(key, now)
    if (known !== undefined && known.generation === found.generation) return known
    const credentials = yield* openSecrets(picked.scope, connectorId, connectionId, found)
    const resolved: ResolvedConnection = { connectionId, scope: picked.scope, generation: found.generation, credentials }
    opened.set(key, resolved, now)
    return resolved
  })

  const refused = Effect.fnUntraced(function* (_scope: TenantScope, connection: ResolvedConnection, reason: string) {
    const { connectionId, generation, scope } = connection
    const command = { _tag: "BreakConnection" as const, connectionId, generation, reason: reason.slice(0, 300) }
    yield* change<ConnectionNotFound>(scope, connectionId, command, { actor: systemActor("runner") }).pipe(
      // Revoked while the call was on its way.
      Effect.catchTag("ConnectionNotFound", () => Effect.void)
    )
  })

  const status = (scope: Scoped, connectionId: ConnectionId) =>
    Effect.map(read(integration, scope, connectorOf(connectionId)), ({ state }) => connectionOf(state, connectionId)?.status)

  const openOne = Effect.fnUntraced(function* (scope: Scoped, view: ConnectionView) {
    const opening = (field: string, sealed: string | null) =>
      sealed === null
        ? Effect.succeed(null)
        : Effect.catchTag(openField(scope, view.connectorId, field, sealed), "SecretGone", () => Effect.succeed(null))
    const label = yield* opening("label", view.label)
    const variables = yield* opening("variables", view.variables)
    return { ...view, label, variables: variables === null ? {} : (JSON.parse(variables) as Record<string, string>) }
  })

  return Connections.of({
    connect,
    rotate: (scope, connectionId, secrets, origin, expecting) =>
      rotating.withPermits(1)(rotate(scope, connectionId, secrets, origin, expecting)),
    makeDefault: (scope, connectionId, origin, expecting) =>
      change(scope, connectionId, { _tag: "MakeConnectionDefault", connectionId }, origin, expecting),
    revoke,
    status,
    resolve,
    outlook: (scope, connectorId, choice = {}) => Effect.map(pick(scope, connectorId, choice), ({ connectionId }) => connectionId),
    refused,
    repaired: (scope, connectionId, origin) => change(scope, connectionId, { _tag: "RepairConnection", connectionId }, origin),
    open: (scope, views) => Effect.forEach(views, (view) => openOne(scope, view), { concurrency: 16 })
  })
})
