/** Actions: an input and a connection's credentials become one HTTP request, which can go to the connection's own host alone. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Action, EffectClass, Probe } from "#domain/action-manifest.ts"
import { type Predicate, predicateOf } from "#domain/condition.ts"
import { type ReadPath, readerOf } from "#domain/data-path.ts"
import { type Finding, listed } from "#domain/finding.ts"
import { ConnectorId } from "#domain/ids.ts"
import { schemaFindings } from "#domain/json-schema.ts"
import type { ErrorsManifest, Manifest } from "#domain/manifest.ts"
import { type Credentials, type Placed, placeCredentials } from "./credentials.ts"
import type { OutboundRequest } from "./ports/outbound.ts"
import { type TextTemplate, textTemplate, type Unfilled, unfitForHeader, type ValueTemplate, valueTemplate } from "./request-template.ts"

/** When neither the action nor the step says otherwise. */
export const defaultTimeoutMillis = 30_000
/** An answer larger than this is refused: with what JSON adds, it has to fit into one append. */
export const responseBytesMax = 4 * 1024 * 1024

/** The request was not built, and nothing was called: the same input fails again. */
export class RequestRefused extends Schema.TaggedError<RequestRefused>()("RequestRefused", {
  connectorId: ConnectorId,
  action: Schema.String,
  findings: Schema.Array(Schema.Struct({ pointer: Schema.String, message: Schema.String }))
}) {
  override get message() {
    return `The action ${this.action} of ${this.connectorId} was not called. ${listed(this.findings)}`
  }
}

export interface CompiledAction {
  readonly name: string
  readonly definition: Action
  readonly effect: EffectClass
  readonly timeoutMillis: number
  readonly path: TextTemplate
  readonly query: ReadonlyArray<readonly [string, TextTemplate]>
  readonly headers: ReadonlyArray<readonly [string, TextTemplate]>
  readonly body: ValueTemplate | undefined
  readonly success: Predicate | undefined
  /** Of a verifiable action alone. */
  readonly probe: CompiledProbe | undefined
}
/** The question whether a call was carried out. */
export interface CompiledProbe {
  readonly question: CompiledAction
  readonly found: Predicate
  readonly absent: Predicate
  /** The call's output within the answer's body. */
  readonly output: ReadPath
}

/** A manifest's actions and error rules, compiled once. */
export interface CompiledActions {
  readonly manifest: Manifest
  readonly actions: ReadonlyMap<string, CompiledAction>
  readonly errors: ErrorsManifest
  readonly rules: ReadonlyArray<{ readonly when: Predicate; readonly meaning: "transient" | "permanent" | "credentials" }>
  /** Credentials placed as this manifest says, kept as long as the opened connection itself. */
  readonly placed: (credentials: Credentials) => Result.Result<Placed, ReadonlyArray<Finding>>
}

const asIs = (text: string): string => text
const templates = (record: Readonly<Record<string, string>> | undefined, encode: (text: string) => string) =>
  Object.entries(record ?? {}).map(([name, template]) => [name, textTemplate(template, encode)] as const)

const compileAction = (name: string, definition: Action): CompiledAction => ({
  name,
  definition,
  effect: definition.effect,
  timeoutMillis: definition.timeoutMillis ?? defaultTimeoutMillis,
  path: textTemplate(definition.path, encodeURIComponent),
  query: templates(definition.query, encodeURIComponent),
  headers: templates(definition.headers, asIs),
  body:
    definition.body === undefined
      ? undefined
      : definition.body === "input"
        ? (input: unknown) => Result.succeed(input)
        : valueTemplate(definition.body),
  success: definition.success === undefined ? undefined : predicateOf(definition.success),
  probe:
    definition.probe === undefined || definition.effect !== "verifiable"
      ? undefined
      : compileProbe(name, definition.probe, definition.timeoutMillis ?? defaultTimeoutMillis)
})

const compileProbe = (name: string, { found, absent, output = "", ...target }: Probe, timeoutMillis: number): CompiledProbe => ({
  question: compileAction(name, { ...target, effect: "safe", timeoutMillis }),
  found: predicateOf(found),
  absent: predicateOf(absent),
  output: readerOf(output)
})

export const compileActions = (manifest: Manifest): CompiledActions => {
  const placed = new WeakMap<Credentials, Result.Result<Placed, ReadonlyArray<Finding>>>()
  return {
    manifest,
    actions: new Map(Object.entries(manifest.actions ?? {}).map(([name, definition]) => [name, compileAction(name, definition)])),
    errors: manifest.errors ?? {},
    rules: (manifest.errors?.rules ?? []).map(({ when, meaning }) => ({ when: predicateOf(when), meaning })),
    placed: (credentials) => {
      let result = placed.get(credentials)
      if (result === undefined) {
        result = placeCredentials(manifest, credentials)
        placed.set(credentials, result)
      }
      return result
    }
  }
}

type Built<A> = Result.Result<A, Finding>

const inputFinding = ({ path, problem }: Unfilled): Finding => ({ pointer: `/input/${path.replaceAll(".", "/")}`, message: problem })

const filled = (template: TextTemplate, input: unknown): Built<string | undefined> => Result.mapError(template(input), inputFinding)

/** Values are percent-encoded, except dots: a segment of dots alone would climb to another path. */
const pathOf = (action: CompiledAction, input: unknown): Built<string> =>
  Result.flatMap(filled(action.path, input), (path = "") => {
    const template = action.definition.path
    if (path.includes("//") || (path.endsWith("/") && !template.endsWith("/"))) {
      return Result.fail({ pointer: "/input", message: `A part of the path ${template} is empty. Give it a value.` })
    }
    return /\/\.{1,2}(?:\/|$)/u.test(path)
      ? Result.fail({ pointer: "/input", message: `A part of the path ${template} is . or .., which leads elsewhere. Change it.` })
      : Result.succeed(path)
  })

const queryOf = (action: CompiledAction, input: unknown, credentials: ReadonlyArray<string>): Built<string> => {
  const pairs: Array<string> = []
  for (const [name, template] of action.query) {
    const value = filled(template, input)
    if (Result.isFailure(value)) return Result.fail(value.failure)
    if (value.success !== undefined) pairs.push(`${encodeURIComponent(name)}=${value.success}`)
  }
  pairs.push(...credentials)
  return Result.succeed(pairs.length === 0 ? "" : `?${pairs.join("&")}`)
}

const headersOf = (
  action: CompiledAction,
  input: unknown,
  placed: Placed,
  idempotencyKey: string | undefined
): Built<Record<string, string>> => {
  const headers: Record<string, string> = { accept: "application/json" }
  for (const [name, template] of action.headers) {
    const value = filled(template, input)
    if (Result.isFailure(value)) return Result.fail(value.failure)
    if (value.success === undefined) continue
    if (unfitForHeader(value.success)) {
      return Result.fail({
        pointer: "/input",
        message: `The header ${name} would hold control characters or letters outside Latin-1. Remove them from the input.`
      })
    }
    headers[name] = value.success
  }
  const keyHeader = action.definition.idempotencyHeader
  if (keyHeader !== undefined && idempotencyKey !== undefined) headers[keyHeader] = idempotencyKey
  return Result.succeed(Object.assign(headers, placed.headers))
}

const bodyOf = (action: CompiledAction, input: unknown, placed: Placed): Built<string | undefined> => {
  if (action.body === undefined && placed.bodyFields === undefined) return Result.succeed(undefined)
  const value = action.body === undefined ? Result.succeed({}) : Result.mapError(action.body(input), inputFinding)
  return Result.flatMap(value, (body) => {
    if (placed.bodyFields === undefined) return Result.succeed(JSON.stringify(body ?? null))
    return typeof body === "object" && body !== null && !Array.isArray(body)
      ? Result.succeed(JSON.stringify({ ...body, ...placed.bodyFields }))
      : Result.fail({ pointer: "/input", message: "The credentials go into the body, so the body has to be an object." })
  })
}

const assemble = (action: CompiledAction, input: unknown, placed: Placed, idempotencyKey: string | undefined): Built<OutboundRequest> => {
  const path = pathOf(action, input)
  if (Result.isFailure(path)) return Result.fail(path.failure)
  const query = queryOf(action, input, placed.query)
  if (Result.isFailure(query)) return Result.fail(query.failure)
  const headers = headersOf(action, input, placed, idempotencyKey)
  if (Result.isFailure(headers)) return Result.fail(headers.failure)
  const body = bodyOf(action, input, placed)
  if (Result.isFailure(body)) return Result.fail(body.failure)
  if (body.success !== undefined) headers.success["content-type"] ??= "application/json"
  return Result.succeed({
    method: action.definition.method,
    url: placed.baseUrl + path.success + query.success,
    headers: headers.success,
    ...(body.success === undefined ? {} : { body: body.success }),
    timeoutMs: action.timeoutMillis,
    responseBytesMax
  })
}

type Refused = (findings: ReadonlyArray<Finding>) => Result.Result<never, RequestRefused>
const refusing =
  ({ manifest }: CompiledActions, action: string): Refused =>
  (findings) =>
    Result.fail(new RequestRefused({ connectorId: manifest.id, action, findings }))

const placedAndBuilt = (
  connector: CompiledActions,
  action: CompiledAction,
  input: unknown,
  credentials: Credentials,
  idempotencyKey: string | undefined,
  refuse: Refused
): Result.Result<OutboundRequest, RequestRefused> => {
  const placed = connector.placed(credentials)
  if (Result.isFailure(placed)) return refuse(placed.failure.map(({ pointer, message }) => ({ pointer: `/connection${pointer}`, message })))
  const built = assemble(action, input, placed.success, idempotencyKey)
  return Result.isFailure(built) ? refuse([built.failure]) : Result.succeed(built.success)
}

/**
 * The request for one call; `sendBy` and a step's own timeout are the caller's to add. The host comes from manifest and
 * connection alone: an input fills encoded path segments, query values, header values and the body.
 */
export const buildRequest = (
  connector: CompiledActions,
  actionName: string,
  input: unknown,
  credentials: Credentials,
  idempotencyKey?: string
): Result.Result<OutboundRequest, RequestRefused> => {
  const refuse = refusing(connector, actionName)
  const action = connector.actions.get(actionName)
  if (action === undefined) {
    return refuse([
      { pointer: "", message: `There is no such action. The connector has: ${[...connector.actions.keys()].join(", ") || "none"}.` }
    ])
  }
  if (action.definition.input !== undefined) {
    const wrong = schemaFindings(action.definition.input, input, ["input"])
    if (wrong.length > 0) return refuse(wrong)
  }
  return placedAndBuilt(connector, action, input, credentials, idempotencyKey, refuse)
}

/** The request that asks what became of a call; `input` is the one that the call was made from. */
export const buildProbe = (
  connector: CompiledActions,
  actionName: string,
  { question }: CompiledProbe,
  input: unknown,
  credentials: Credentials
): Result.Result<OutboundRequest, RequestRefused> =>
  placedAndBuilt(connector, question, input, credentials, undefined, refusing(connector, actionName))
