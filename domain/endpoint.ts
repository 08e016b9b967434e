/** An endpoint: the address at which one outside app delivers its webhooks for a space or a tenant. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { ConnectionId, ConnectorId, EndpointId, type SpaceKey } from "./ids.ts"
import { type SpaceScope, scopeOf, type TenantScope } from "./scope.ts"
import { SecretVersion } from "./secret-version.ts"

/** Signing secrets of one endpoint that are valid at the same time. */
export const endpointSecretsMax = 5

export type Endpoint =
  | { readonly status: "absent" | "removed" }
  | {
      readonly status: "active"
      readonly endpointId: EndpointId
      readonly connectorId: ConnectorId
      readonly connectionId: ConnectionId | null
      readonly secrets: ReadonlyArray<SecretVersion>
    }

export type EndpointCommand = typeof EndpointCommand.Type
export const EndpointCommand = Schema.TaggedUnion({
  CreateEndpoint: {
    endpointId: EndpointId,
    connectorId: ConnectorId,
    connectionId: Schema.optionalKey(ConnectionId),
    secrets: Schema.Array(SecretVersion)
  },
  AddEndpointSecret: { endpointId: EndpointId, secret: SecretVersion },
  RemoveEndpointSecret: { endpointId: EndpointId, field: Schema.String },
  RemoveEndpoint: { endpointId: EndpointId }
})

export type EndpointEvent = typeof EndpointEvent.Type
export const EndpointEvent = Schema.TaggedUnion({
  EndpointCreated: {
    endpointId: EndpointId,
    connectorId: ConnectorId,
    connectionId: Schema.optionalKey(ConnectionId),
    secrets: Schema.Array(SecretVersion)
  },
  /** The secrets before it stay valid until they are removed. */
  EndpointSecretRotated: { endpointId: EndpointId, secret: SecretVersion },
  EndpointSecretRemoved: { endpointId: EndpointId, field: Schema.String },
  EndpointRemoved: { endpointId: EndpointId }
})
const cases = EndpointEvent.cases

export class EndpointNotFound extends Schema.TaggedError<EndpointNotFound>()("EndpointNotFound", { endpointId: EndpointId }) {
  override get message() {
    return `The endpoint ${this.endpointId} does not exist, or it was removed. Nothing was changed. Check the URL, or create an endpoint.`
  }
}
export class EndpointExists extends Schema.TaggedError<EndpointExists>()("EndpointExists", { endpointId: EndpointId }) {
  override get message() {
    return `The endpoint ${this.endpointId} exists already, or did before. Nothing was changed. Create one with a new id.`
  }
}
export class EndpointSecretsExhausted extends Schema.TaggedError<EndpointSecretsExhausted>()("EndpointSecretsExhausted", {
  endpointId: EndpointId,
  limit: Schema.Int
}) {
  override get message() {
    return `The endpoint ${this.endpointId} has ${this.limit} valid secrets, which is the most. Nothing was changed. Remove an old one first.`
  }
}
export class LastEndpointSecret extends Schema.TaggedError<LastEndpointSecret>()("LastEndpointSecret", {
  endpointId: EndpointId,
  field: Schema.String
}) {
  override get message() {
    return `${this.field} is the only secret of the endpoint ${this.endpointId}: without it no call could be verified. Nothing was changed. Add another first, or remove the endpoint.`
  }
}
export type EndpointRejection = EndpointNotFound | EndpointExists | EndpointSecretsExhausted | LastEndpointSecret

type Decision = Result.Result<ReadonlyArray<EndpointEvent>, EndpointRejection>
type Active = Extract<Endpoint, { readonly status: "active" }>

const about = (state: Endpoint, endpointId: EndpointId, decide: (active: Active) => Decision): Decision =>
  state.status === "active" ? decide(state) : Result.fail(new EndpointNotFound({ endpointId }))

const sameCreation = (state: Active, command: typeof EndpointCommand.cases.CreateEndpoint.Type): boolean =>
  state.connectorId === command.connectorId &&
  state.connectionId === (command.connectionId ?? null) &&
  JSON.stringify(state.secrets) === JSON.stringify(command.secrets)

export const endpoint: Aggregate<Endpoint, EndpointCommand, EndpointEvent, EndpointRejection> = {
  kind: "endpoint",
  version: 1,
  events: eventFamily(EndpointEvent),
  initialState: { status: "absent" },
  decide: (command, state): Decision =>
    EndpointCommand.match(command, {
      CreateEndpoint: (create) => {
        const { _tag: _, ...created } = create
        if (state.status === "absent") return Result.succeed([cases.EndpointCreated.make(created)])
        return state.status === "active" && sameCreation(state, create)
          ? Result.succeed([])
          : Result.fail(new EndpointExists({ endpointId: create.endpointId }))
      },
      AddEndpointSecret: ({ endpointId, secret }) =>
        about(state, endpointId, ({ secrets }) => {
          if (secrets.some(({ fingerprint }) => fingerprint === secret.fingerprint)) return Result.succeed([])
          return secrets.length >= endpointSecretsMax
            ? Result.fail(new EndpointSecretsExhausted({ endpointId, limit: endpointSecretsMax }))
            : Result.succeed([cases.EndpointSecretRotated.make({ endpointId, secret })])
        }),
      RemoveEndpointSecret: ({ endpointId, field }) =>
        about(state, endpointId, ({ secrets }) => {
          if (!secrets.some((secret) => secret.field === field)) return Result.succeed([])
          return secrets.length === 1
            ? Result.fail(new LastEndpointSecret({ endpointId, field }))
            : Result.succeed([cases.EndpointSecretRemoved.make({ endpointId, field })])
        }),
      RemoveEndpoint: ({ endpointId }) =>
        state.status === "removed"
          ? Result.succeed([])
          : about(state, endpointId, () => Result.succeed([cases.EndpointRemoved.make({ endpointId })]))
    }),
  evolve: (state, event) =>
    EndpointEvent.match(event, {
      EndpointCreated: ({ endpointId, connectorId, connectionId, secrets }): Endpoint => ({
        status: "active",
        endpointId,
        connectorId,
        connectionId: connectionId ?? null,
        secrets
      }),
      EndpointSecretRotated: ({ secret }): Endpoint =>
        state.status === "active" ? { ...state, secrets: [...state.secrets, secret] } : state,
      EndpointSecretRemoved: ({ field }): Endpoint =>
        state.status === "active" ? { ...state, secrets: state.secrets.filter((secret) => secret.field !== field) } : state,
      EndpointRemoved: (): Endpoint => ({ status: "removed" })
    })
}

/** The id's part that names the stream within its scope: the last 16 characters. */
export const endpointStreamId = (endpointId: EndpointId): string => endpointId.slice(20)

/** The scope whose endpoint it is: the id begins with the scope's key. */
export const endpointScope = (space: SpaceKey, endpointId: EndpointId): SpaceScope | TenantScope | undefined => {
  const key = endpointId.slice(0, 20)
  return key.startsWith("s") && key !== space ? undefined : (scopeOf(space, key) as SpaceScope | TenantScope)
}
