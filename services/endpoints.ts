/** Endpoints: the addresses for webhooks, their signing secrets, and finding one fast when it is called. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { ConnectorNotFound } from "#domain/connector.ts"
import {
  type Endpoint,
  type EndpointExists,
  EndpointNotFound,
  type EndpointRejection,
  type EndpointSecretsExhausted,
  endpoint,
  endpointScope,
  endpointStreamId,
  type LastEndpointSecret
} from "#domain/endpoint.ts"
import type { Finding } from "#domain/finding.ts"
import { type ConnectionId, type ConnectorId, EndpointId, type Position } from "#domain/ids.ts"
import { connectionOf, connectorOf, integration } from "#domain/integration.ts"
import type { Origin } from "#domain/recorded.ts"
import { kindAndIdOf, type SpaceScope, scopeKeyOf, spaceOf, type TenantScope } from "#domain/scope.ts"
import type { SecretVersion } from "#domain/secret-version.ts"
import type { SignatureManifest } from "#domain/webhook-manifest.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { ConnectionInvalid } from "./connections.ts"
import { Connectors } from "./connectors.ts"
import { ExpiringCache, openedSecretMillis, sweepEveryMillis } from "./expiring-cache.ts"
import { digest26 } from "./identities.ts"
import { Entropy } from "./ports/entropy.ts"
import type { VaultUnavailable } from "./ports/unavailable.ts"
import { Vault } from "./ports/vault.ts"
import { Spaces } from "./spaces.ts"
import { type Expecting, type RevisionMismatch, Transact, type TransactError } from "./transact.ts"
import type { Secrets } from "./verification.ts"

type Scoped = SpaceScope | TenantScope
type Active = Extract<Endpoint, { readonly status: "active" }>
type Unavailable = TransactError | VaultUnavailable

/** Endpoints with opened secrets in memory, and ids that are known to lead nowhere. */
const openedMax = 20_000
const unknownMax = 10_000
/** Characters of a secret that we make: 5 bits each, 160 in all; 32 bytes where the vendor's form is decoded. */
const secretLength = 32

export interface NewEndpoint {
  readonly connectorId: string
  /** Events that come in here are this connection's. */
  readonly connectionId?: ConnectionId | undefined
  /** The vendor's, such as an app's client secret; one is made when it is left out. */
  readonly secret?: Redacted.Redacted<string> | undefined
}
export interface CreatedEndpoint {
  readonly endpointId: EndpointId
  /** Below the public URL. */
  readonly path: string
  /** Only when it was made here: it is shown this once. Null on a repeat of the request. */
  readonly secret: Redacted.Redacted<string> | null
  readonly position: Position | null
}
export interface ChangedEndpoint {
  readonly endpointId: EndpointId
  readonly revision: number
  readonly position: Position | null
}
export interface RotatedEndpoint extends ChangedEndpoint {
  /** The new secret's name, to remove others by. */
  readonly field: string
  readonly secret: Redacted.Redacted<string> | null
}
/** What a call to an endpoint needs. The same object, and the same `secrets`, as long as nothing changed. */
export interface ActiveEndpoint {
  readonly endpointId: EndpointId
  readonly scope: Scoped
  readonly connectorId: ConnectorId
  readonly connectionId: ConnectionId | null
  readonly secrets: Secrets
}

export class Endpoints extends Context.Service<
  Endpoints,
  {
    readonly create: (
      scope: Scoped,
      endpoint: NewEndpoint,
      origin: Origin
    ) => Effect.Effect<CreatedEndpoint, ConnectorNotFound | ConnectionInvalid | EndpointExists | Unavailable>
    /** Adds a secret; those before it stay valid until they are removed. */
    readonly rotate: (
      endpointId: EndpointId,
      secret: Redacted.Redacted<string> | undefined,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<RotatedEndpoint, ConnectorNotFound | EndpointNotFound | EndpointSecretsExhausted | RevisionMismatch | Unavailable>
    readonly removeSecret: (
      endpointId: EndpointId,
      field: string,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<ChangedEndpoint, EndpointNotFound | LastEndpointSecret | RevisionMismatch | Unavailable>
    /** Records it, then removes its secrets from the vault. Repeatable. */
    readonly remove: (
      endpointId: EndpointId,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<ChangedEndpoint, EndpointNotFound | RevisionMismatch | Unavailable>
    /** Undefined: no such endpoint. Unknown ids are remembered within a bound, and cost nothing more. */
    readonly find: (endpointId: string) => Effect.Effect<ActiveEndpoint | undefined, Unavailable>
    /** Whose endpoint an id would be; undefined: of another space, or no endpoint's id. */
    readonly scopeOf: (endpointId: string) => Scoped | undefined
  }
>()("tributary/services/Endpoints") {
  static readonly layer = Layer.effect(
    Endpoints,
    Effect.suspend(() => make)
  )
}

const isEndpointId = Schema.is(EndpointId)
const owner = (endpointId: EndpointId) => `endpoint-${endpointStreamId(endpointId)}` as const
/** Secrets are named by number, never twice in an endpoint's life: the newest has the highest. */
const nextField = (secrets: ReadonlyArray<SecretVersion>): string =>
  `secret-${1 + Math.max(0, ...secrets.map(({ field }) => Number(field.slice("secret-".length))))}`

/** A secret in the form in which the manifest reads it. */
const secretText = (random: string, rule: SignatureManifest["secret"]): string =>
  (rule?.prefix ?? "") + (rule === undefined || rule.encoding === "text" ? random : Buffer.from(random).toString(rule.encoding))

const make = Effect.gen(function* () {
  const { forget, onOvertaken, read, transact } = yield* Transact
  const connectors = yield* Connectors
  const entropy = yield* Entropy
  const spaces = yield* Spaces
  const vault = yield* Vault
  const { space } = yield* spaces.ensureDefault
  const opened = new ExpiringCache<string, ActiveEndpoint>(openedMax, openedSecretMillis)
  const unknown = new BoundedCache<string, true>(unknownMax)
  const drop = (endpointId: string) => {
    opened.delete(endpointId)
    unknown.delete(endpointId)
  }
  onOvertaken((stream) => {
    const { kind, id } = kindAndIdOf(stream)
    if (kind === endpoint.kind) drop(`${scopeKeyOf(stream)}${id}`)
  })
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.map(Clock.currentTimeMillis, (now) => opened.sweep(now)),
      Schedule.spaced(sweepEveryMillis)
    )
  )

  const scopeOf = (endpointId: string): Scoped | undefined => (isEndpointId(endpointId) ? endpointScope(space, endpointId) : undefined)
  const scopeFor = (endpointId: EndpointId): Effect.Effect<Scoped, EndpointNotFound> => {
    const scope = scopeOf(endpointId)
    return scope === undefined ? Effect.fail(new EndpointNotFound({ endpointId })) : Effect.succeed(scope)
  }

  /** `RevisionMismatch` is among the rejections of those that may expect a revision. */
  const change = <Rejection extends EndpointRejection | RevisionMismatch>(
    scope: Scoped,
    endpointId: EndpointId,
    command: Parameters<typeof endpoint.decide>[0],
    origin: Origin,
    expecting: Expecting = {}
  ): Effect.Effect<ChangedEndpoint, Rejection | TransactError> =>
    transact(endpoint, scope, endpointStreamId(endpointId), command, { origin, ...expecting }).pipe(
      Effect.map(({ revision, position }) => ({ endpointId, revision, position })),
      Effect.tap(() => Effect.sync(() => drop(endpointId)))
    ) as Effect.Effect<ChangedEndpoint, Rejection | TransactError>

  /** What a request did before, so that its repeat stores nothing again; its key under another request is refused here. */
  const carriedOut = (scope: Scoped, endpointId: EndpointId, origin: Origin): Effect.Effect<ChangedEndpoint | undefined, TransactError> =>
    origin.commandId === undefined
      ? Effect.undefined
      : transact(endpoint, scope, endpointStreamId(endpointId), [], { origin }).pipe(
          Effect.map(({ revision, position, repeated }) => (repeated ? { endpointId, revision, position } : undefined)),
          // Without a command there is nothing to reject.
          Effect.catchTag(["EndpointNotFound", "EndpointExists", "EndpointSecretsExhausted", "LastEndpointSecret"], Effect.die)
        )

  const put = (scope: Scoped, endpointId: EndpointId, field: string, secret: Redacted.Redacted<string>) =>
    Effect.map(vault.put(scope, { owner: owner(endpointId), field }, secret), (stored): SecretVersion => ({ field, ...stored }))

  const made = (rule: SignatureManifest["secret"]) => Redacted.make(secretText(entropy.base32(secretLength), rule))

  /** The endpoint's tenant has it, or the space for all of its tenants. */
  const isConnected = Effect.fnUntraced(function* (scope: Scoped, connectorId: ConnectorId, connectionId: ConnectionId) {
    const places = scope.level === "tenant" ? [scope, spaceOf(scope)] : [scope]
    const states = yield* Effect.forEach(places, (place) => read(integration, place, connectorId))
    return states.some(({ state }) => connectionOf(state, connectionId) !== undefined)
  })

  const webhookOf = Effect.fnUntraced(function* (scope: Scoped, { connectorId, connectionId }: NewEndpoint) {
    const compiled = yield* connectors.compiled(scope, connectorId)
    const { webhook } = compiled.manifest
    const findings: Array<Finding> = []
    if (webhook === undefined)
      findings.push({ pointer: "/connectorId", message: "This connector has no webhook. Choose one with triggers." })
    if (scope.level === "space" && webhook !== undefined && webhook.tenant === undefined) {
      findings.push({ pointer: "", message: "Its calls do not name a tenant. Create the endpoint for a tenant." })
    }
    if (connectionId !== undefined) {
      if (connectorOf(connectionId) !== compiled.id)
        findings.push({ pointer: "/connectionId", message: "This connection is of another connector. Choose one of this." })
      else if (!(yield* isConnected(scope, compiled.id, connectionId)))
        findings.push({ pointer: "/connectionId", message: "There is no such connection. Connect first, or leave it out." })
    }
    if (findings.length > 0 || webhook === undefined) return yield* new ConnectionInvalid({ connectorId: compiled.id, findings })
    return { connectorId: compiled.id, webhook }
  })

  const create = Effect.fn("Endpoints.create")(function* (scope: Scoped, wanted: NewEndpoint, origin: Origin) {
    const { connectorId, webhook } = yield* webhookOf(scope, wanted)
    const empty = wanted.secret !== undefined && Redacted.value(wanted.secret) === ""
    if (empty)
      return yield* new ConnectionInvalid({
        connectorId,
        findings: [{ pointer: "/secret", message: "An empty secret verifies nothing. Enter it." }]
      })
    const { commandId } = origin
    const suffix = commandId === undefined ? entropy.base32(16) : digest26(`endpoint\n${scope.key}\n${commandId}`).slice(0, 16)
    const endpointId = `${scope.key}${suffix}` as EndpointId
    const earlier = yield* carriedOut(scope, endpointId, origin)
    if (earlier !== undefined) return { endpointId, path: `/hooks/${endpointId}`, secret: null, position: earlier.position }
    const secret = wanted.secret ?? made(webhook.signature.secret)
    const secrets = [yield* put(scope, endpointId, "secret-1", secret)]
    const connection = wanted.connectionId === undefined ? {} : { connectionId: wanted.connectionId }
    const command = { _tag: "CreateEndpoint" as const, endpointId, connectorId, ...connection, secrets }
    const { position } = yield* change<EndpointExists>(scope, endpointId, command, origin)
    return { endpointId, path: `/hooks/${endpointId}`, secret: wanted.secret === undefined ? secret : null, position }
  })

  const active = Effect.fnUntraced(function* (scope: Scoped, endpointId: EndpointId) {
    const { state } = yield* read(endpoint, scope, endpointStreamId(endpointId))
    return state.status === "active" ? state : yield* new EndpointNotFound({ endpointId })
  })

  const rotate = Effect.fn("Endpoints.rotate")(function* (
    endpointId: EndpointId,
    given: Redacted.Redacted<string> | undefined,
    origin: Origin,
    expecting?: Expecting
  ) {
    const scope = yield* scopeFor(endpointId)
    const state = yield* active(scope, endpointId)
    const earlier = yield* carriedOut(scope, endpointId, origin)
    if (earlier !== undefined) return { ...earlier, field: state.secrets.at(-1)!.field, secret: null }
    const { manifest } = yield* connectors.compiled(scope, state.connectorId)
    const secret = given ?? made(manifest.webhook?.signature.secret)
    const stored = yield* put(scope, endpointId, nextField(state.secrets), secret)
    const command = { _tag: "AddEndpointSecret" as const, endpointId, secret: stored }
    const done = yield* change<EndpointNotFound | EndpointSecretsExhausted | RevisionMismatch>(
      scope,
      endpointId,
      command,
      origin,
      expecting
    )
    return { ...done, field: stored.field, secret: given === undefined ? secret : null }
  })

  const removeSecret = Effect.fn("Endpoints.removeSecret")(function* (
    endpointId: EndpointId,
    field: string,
    origin: Origin,
    expecting?: Expecting
  ) {
    const scope = yield* scopeFor(endpointId)
    const command = { _tag: "RemoveEndpointSecret" as const, endpointId, field }
    const done = yield* change<EndpointNotFound | LastEndpointSecret | RevisionMismatch>(scope, endpointId, command, origin, expecting)
    yield* vault.remove(scope, { owner: owner(endpointId), field })
    return done
  })

  const remove = Effect.fn("Endpoints.remove")(function* (endpointId: EndpointId, origin: Origin, expecting?: Expecting) {
    const scope = yield* scopeFor(endpointId)
    const { state } = yield* read(endpoint, scope, endpointStreamId(endpointId))
    const done = yield* change<EndpointNotFound | RevisionMismatch>(
      scope,
      endpointId,
      { _tag: "RemoveEndpoint", endpointId },
      origin,
      expecting
    )
    const secrets = state.status === "active" ? state.secrets : []
    for (const { field } of secrets) yield* vault.remove(scope, { owner: owner(endpointId), field })
    return done
  })

  /** One that cannot be opened is left out: the others still verify, and without any nothing does. */
  const openSecrets = Effect.fnUntraced(function* (scope: Scoped, state: Active) {
    const secrets: Array<Redacted.Redacted<string>> = []
    for (const { field, version } of state.secrets) {
      const got = vault.get(scope, { owner: owner(state.endpointId), field }, version)
      const secret = yield* Effect.catchTag(got, "SecretGone", () => Effect.undefined)
      if (secret !== undefined) secrets.push(secret)
    }
    return secrets
  })

  const load = Effect.fnUntraced(function* (scope: Scoped, endpointId: EndpointId, now: number) {
    const { state } = yield* read(endpoint, scope, endpointStreamId(endpointId))
    if (state.status !== "active") {
      forget(scope, owner(endpointId))
      unknown.set(endpointId, true)
      return undefined
    }
    const secrets = yield* openSecrets(scope, state)
    const found: ActiveEndpoint = { endpointId, scope, connectorId: state.connectorId, connectionId: state.connectionId, secrets }
    opened.set(endpointId, found, now)
    return found
  })

  const absent = Effect.succeed(undefined)
  const find = (endpointId: string): Effect.Effect<ActiveEndpoint | undefined, Unavailable> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const known = opened.get(endpointId, now)
      if (known !== undefined) return Effect.succeed(known)
      if (unknown.get(endpointId) === true) return absent
      const scope = scopeOf(endpointId)
      return scope === undefined ? absent : load(scope, endpointId as EndpointId, now)
    })

  // The name of a new secret follows from those that are there: one at a time.
  const rotating = yield* Semaphore.make(1)
  return Endpoints.of({
    create,
    rotate: (endpointId, given, origin, expecting) => rotating.withPermits(1)(rotate(endpointId, given, origin, expecting)),
    removeSecret,
    remove,
    find,
    scopeOf
  })
})
