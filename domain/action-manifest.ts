/** The actions of a connector manifest: which calls can be made, what repeating one would do, and how to ask whether one was carried out. */
import * as Schema from "effect/Schema"
import { Condition, conditionDepthMax, depthOf } from "./condition.ts"
import { DataPath } from "./data-path.ts"
import { type Finding, pointerOf } from "./finding.ts"
import { JsonSchema } from "./json-schema.ts"
import { HeaderName } from "./webhook-manifest.ts"

/** How often the outside may see a call (R11): safe repeats, idempotent by a key, verifiable by asking, unsafe: at most once. */
export type EffectClass = typeof EffectClass.Type
export const EffectClass = Schema.Literals(["safe", "idempotent", "verifiable", "unsafe"])

/** Texts of path, query and headers fill `{name}` from the input. */
const target = {
  path: Schema.String.check(Schema.isPattern(/^\/[\x21-\x7e]*$/u, { expected: "a path that starts with /, without spaces" })),
  query: Schema.optionalKey(Schema.Record(Schema.NonEmptyString, Schema.String)),
  headers: Schema.optionalKey(Schema.Record(HeaderName, Schema.String))
}

/**
 * The question whether a call was carried out, filled from that call's input. `found` and `absent` are conditions over
 * `{ status, headers, body }`; an answer that meets neither, or both, leaves it open.
 */
export type Probe = typeof Probe.Type
export const Probe = Schema.Struct({
  method: Schema.Literals(["GET", "HEAD"]),
  ...target,
  found: Condition,
  absent: Condition,
  /** Where in the answer's body the output is that the call would have had; the whole body unless set. */
  output: Schema.optionalKey(DataPath)
})

/** `body: "input"` sends the whole input. */
export type Action = typeof Action.Type
export const Action = Schema.Struct({
  description: Schema.optionalKey(Schema.String),
  method: Schema.Literals(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
  ...target,
  body: Schema.optionalKey(Schema.Json),
  effect: EffectClass,
  idempotencyHeader: Schema.optionalKey(HeaderName),
  /** Of a verifiable action. */
  probe: Schema.optionalKey(Probe),
  input: Schema.optionalKey(JsonSchema),
  output: Schema.optionalKey(JsonSchema),
  timeoutMillis: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 600_000 }))),
  /** Over `{ status, headers, body }`; a 2xx status unless set. */
  success: Schema.optionalKey(Condition)
})

/** Headers that the transport owns: an action that sets one could smuggle a second request. */
export const transportHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** Where something stands in the manifest. */
type At = (...path: ReadonlyArray<string>) => ReadonlyArray<string>

const finding = (path: ReadonlyArray<string>, message: string): Finding => ({ pointer: pointerOf(path), message })

const targetFindings = (at: At, { path, headers = {} }: Pick<Action, "path" | "headers">): ReadonlyArray<Finding> => [
  ...(/\/\.{1,2}(?:\/|$)|\/\/|[?#]/u.test(path)
    ? [finding(at("path"), "A path has no empty, . or .. segments, no ? and no #. Use query for parameters.")]
    : []),
  ...Object.keys(headers)
    .filter((header) => transportHeaders.has(header))
    .map((header) => finding(at("headers", header), "This header belongs to the transport. Remove it."))
]

const conditionFindings = (path: ReadonlyArray<string>, condition: Condition | undefined): ReadonlyArray<Finding> =>
  condition !== undefined && depthOf(condition) > conditionDepthMax
    ? [finding(path, `Conditions may be nested ${conditionDepthMax} deep. Flatten it.`)]
    : []

const probeFindings = (at: At, { effect, probe }: Action): ReadonlyArray<Finding> => {
  if (probe === undefined) {
    return effect === "verifiable"
      ? [finding(at("probe"), "A verifiable action needs the probe that tells whether a call was carried out. Add it, or call it unsafe.")]
      : []
  }
  const within: At = (...path) => at("probe", ...path)
  return [
    ...(effect === "verifiable"
      ? []
      : [finding(at("probe"), `An action that is ${effect} is not asked about. Remove the probe, or call the action verifiable.`)]),
    ...targetFindings(within, probe),
    ...conditionFindings(within("found"), probe.found),
    ...conditionFindings(within("absent"), probe.absent)
  ]
}

export const actionFindings = (name: string, action: Action): ReadonlyArray<Finding> => {
  const at: At = (...path) => ["actions", name, ...path]
  const { body, effect, idempotencyHeader, method } = action
  return [
    ...(effect === "idempotent" && idempotencyHeader === undefined && method !== "PUT" && method !== "DELETE"
      ? [finding(at("idempotencyHeader"), `An idempotent ${method} needs the header that carries the key. Add it, or call it unsafe.`)]
      : []),
    ...(body !== undefined && (method === "GET" || method === "HEAD")
      ? [finding(at("body"), `A ${method} has no body. Use query, or another method.`)]
      : []),
    ...targetFindings(at, action),
    ...conditionFindings(at("success"), action.success),
    ...probeFindings(at, action)
  ]
}
