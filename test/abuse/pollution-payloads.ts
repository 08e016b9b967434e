/** Ways to reach a prototype, each with a property of its own, in every place where the platform reads names that others chose. */
import type { AskOptions } from "../support/http-client.ts"

/** The property that a payload would leave on a prototype says which payload it was. */
export const markOf = (index: number): string => `polluted${index}`

type Shape = (mark: string) => string
/** JSON texts: an object literal here would set the prototype instead of naming it. */
const shapes: ReadonlyArray<Shape> = [
  (mark) => `{"__proto__":{"${mark}":1}}`,
  (mark) => `{"__proto__":{"__proto__":{"${mark}":1}}}`,
  (mark) => `{"constructor":{"prototype":{"${mark}":1}}}`,
  (mark) => `{"a":{"__proto__":{"${mark}":1}}}`,
  (mark) => `{"a":{"constructor":{"prototype":{"${mark}":1}}}}`,
  (mark) => `{"\\u005f_proto_\\u005f":{"${mark}":1}}`,
  (mark) => `{"__proto__":null,"${mark}":1}`,
  (mark) => `{"__proto__.${mark}":1,"constructor.prototype.${mark}":1}`,
  (mark) => `{"__proto__[${mark}]":1,"constructor[prototype][${mark}]":1}`,
  (mark) => `{"__proto__":["${mark}"],"__proto__":{"${mark}":1}}`
]

export interface Payload extends AskOptions {
  readonly method: string
  readonly path: string
}

/** Adds a payload's members to an object's text. */
const merged = (into: object, members: string): string => {
  const text = JSON.stringify(into)
  return text === "{}" ? members : `${text.slice(0, -1)},${members.slice(1)}`
}
const nested = (into: object, at: string, value: string): string => JSON.stringify({ ...into, [at]: "?" }).replace('"?"', () => value)

const tenant = "/api/v1/tenants/acme"
const erp = { connector: "erp", method: "apiKey", secrets: { apiKey: "k" }, variables: { address: "http://127.0.0.1:9" } }
const sent = { connector: "shop", event: "products/create", body: {} }
const manifest = { id: "polluter", name: "P", auth: { none: { kind: "none" } } }
const flow = {
  id: "polluter",
  trigger: { connector: "shop", event: "products/update" },
  steps: [{ id: "one", kind: "transform", expression: "1" }]
}
const action = { method: "POST", path: "/a", effect: "unsafe" }

/** Bodies, by where in them the payload goes. */
const bodies: ReadonlyArray<readonly [method: string, path: string, write: (payload: string) => string]> = [
  ["POST", "/api/v1/tenants", (payload) => merged({ id: "made" }, payload)],
  ["PATCH", tenant, (payload) => merged({}, payload)],
  ["POST", `${tenant}/connections`, (payload) => merged(erp, payload)],
  ["POST", `${tenant}/connections`, (payload) => nested(erp, "secrets", payload)],
  ["POST", `${tenant}/connections`, (payload) => nested(erp, "variables", payload)],
  ["PUT", `${tenant}/workflows/merge`, (payload) => nested({}, "bindings", payload)],
  ["POST", `${tenant}/events`, (payload) => nested(sent, "body", payload)],
  ["POST", `${tenant}/events`, (payload) => nested(sent, "headers", payload)],
  ["PUT", `${tenant}/settings/runs.attemptsMax`, (payload) => nested({}, "value", payload)],
  ["POST", "/api/v1/api-keys", (payload) => merged({ role: "viewer", label: "x" }, payload)],
  ["POST", "/api/v1/connectors", (payload) => merged(manifest, payload)],
  ["POST", "/api/v1/connectors", (payload) => nested({ ...manifest, baseUrl: "https://a.example" }, "variables", payload)],
  ["POST", "/api/v1/connectors", (payload) => nested({ ...manifest, baseUrl: "https://a.example" }, "actions", payload)],
  [
    "POST",
    "/api/v1/connectors",
    (payload) => nested({ ...manifest, baseUrl: "https://a.example" }, "actions", `{"a":${nested(action, "headers", payload)}}`)
  ],
  ["POST", "/api/v1/workflows", (payload) => merged(flow, payload)],
  ["POST", "/api/v1/workflows", (payload) => nested(flow, "settings", payload)],
  ["POST", "/api/v1/workflows", (payload) => nested(flow, "steps", `[${payload}]`)]
]

const yamls: ReadonlyArray<Shape> = [
  (mark) => `__proto__: { ${mark}: 1 }`,
  (mark) => `? __proto__\n: ${mark}: 1`,
  (mark) => `"\\x5f_proto__": { ${mark}: 1 }`,
  (mark) => `<<: { __proto__: { ${mark}: 1 } }`,
  (mark) => `base: &base { __proto__: { ${mark}: 1 } }\n<<: *base`,
  (mark) => `constructor: { prototype: { ${mark}: 1 } }`,
  (mark) => `steps: !!js/function 'function () { Object.prototype.${mark} = 1 }'`,
  (mark) => `!!set { __proto__, ${mark} }`,
  (mark) => `!!omap [ __proto__: { ${mark}: 1 } ]`,
  (mark) => `settings: { __proto__: { ${mark}: 1 } }`
]
const queries: ReadonlyArray<Shape> = [
  (mark) => `__proto__[${mark}]=1`,
  (mark) => `__proto__.${mark}=1`,
  (mark) => `constructor[prototype][${mark}]=1`,
  (mark) => `constructor.prototype.${mark}=1`,
  (mark) => `limit[__proto__][${mark}]=1`,
  (mark) => `__proto__=${mark}&__proto__=1`,
  (mark) => `%5F%5Fproto__%5B${mark}%5D=1`,
  (mark) => `cursor=__proto__&order=constructor&${mark}=__proto__`
]
const headers: ReadonlyArray<(mark: string) => Readonly<Record<string, string>>> = [
  (mark) => JSON.parse(`{"__proto__":"${mark}"}`),
  (mark) => ({ constructor: mark, prototype: mark }),
  (mark) => ({ "x-tenant-id": "__proto__", "x-space-id": mark }),
  (mark) => ({ cookie: `__proto__=${mark}; constructor[prototype]=${mark}` }),
  (mark) => ({ "idempotency-key": "__proto__", "x-min-position": "constructor", forwarded: mark }),
  (mark) => ({ "content-type": `application/json; __proto__=${mark}` })
]
/** Names of a prototype's members, where ids are asked for. */
export const inheritedNames = ["__proto__", "constructor", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf", "__defineGetter__"]
const places = [
  "/api/v1/connectors/?",
  "/api/v1/workflows/?",
  "/api/v1/settings/?/explain",
  "/api/v1/tenants/?",
  `${tenant}/settings/?/explain`,
  `${tenant}/executions/?`,
  `${tenant}/usage/?/20260101`,
  "/hooks/?",
  "/?"
]

const yaml = { "content-type": "application/yaml" }
const list = (): ReadonlyArray<(mark: string) => Payload> => [
  ...bodies.flatMap(([method, path, write]) => shapes.map((shape) => (mark: string) => ({ method, path, body: write(shape(mark)) }))),
  ...yamls.flatMap((shape) =>
    ["connectors", "workflows"].map((name) => (mark: string) => ({
      method: "POST",
      path: `/api/v1/${name}`,
      headers: yaml,
      body: `id: polluter\n${shape(mark)}\n`
    }))
  ),
  ...queries.map((shape) => (mark: string) => ({ method: "GET", path: `${tenant}/executions?${shape(mark)}` })),
  ...headers.map((shape) => (mark: string) => ({ method: "GET", path: tenant, headers: shape(mark) })),
  ...places.flatMap((place) => inheritedNames.map((name) => () => ({ method: "GET", path: place.replace("?", name) }))),
  ...inheritedNames.map((name) => () => ({ method: "POST", path: `/api/v1/projections/${name}/rebuild` })),
  ...inheritedNames.map((name) => () => ({ method: "PUT", path: `/api/v1/settings/${name}`, body: '{"value":1}' }))
]
export const requestPayloads: ReadonlyArray<Payload> = list().map((write, index) => write(markOf(index)))

/** Bodies of webhooks: `merge` maps them in every way that names a member by data. */
export const webhookPayloads: ReadonlyArray<string> = [
  ...shapes.map((shape, index) => shape(markOf(1000 + index))),
  ...[
    "__proto__",
    "constructor",
    "prototype",
    "__proto__.x",
    "toString",
    "valueOf",
    "hasOwnProperty",
    "toJSON",
    "then",
    "__lookupGetter__"
  ].map((key, index) => JSON.stringify({ key, value: { [markOf(1100 + index)]: 1, prototype: { [markOf(1200 + index)]: 1 } } }))
]

export const mergeFlow = {
  id: "merge",
  trigger: { connector: "shop", event: "orders/create" },
  steps: [
    { id: "merged", kind: "transform", expression: "$merge([trigger.body, { 'a': 1 }])" },
    { id: "constructed", kind: "transform", expression: "{ $string(trigger.body.key): trigger.body.value }" },
    { id: "grouped", kind: "transform", expression: "[trigger.body]{ $string(key): value }" },
    { id: "updated", kind: "transform", expression: "trigger.body ~> |$|{ $string(key): value }|" },
    { id: "walked", kind: "transform", expression: "[trigger.body.__proto__, trigger.body.constructor, trigger.body.**]" },
    { id: "spread", kind: "transform", expression: "$merge($spread(trigger.body))" },
    { id: "looked", kind: "transform", expression: "[$lookup(trigger.body, '__proto__'), $keys(trigger.body)]" },
    { id: "sifted", kind: "transform", expression: "$sift(trigger.body, function($v, $k) { $k != 'a' })" },
    {
      id: "sent",
      kind: "action",
      connector: "erp",
      action: "createOrder",
      input: { externalId: "x", total: 1, currency: "EUR", customer: "= steps.merged.output", lines: ["= steps.spread.output"] }
    },
    { id: "after", kind: "transform", expression: "$merge([steps.sent.output, steps.sent.output.body])" }
  ].map((step) => ({ ...step, onError: "continue" }))
}
