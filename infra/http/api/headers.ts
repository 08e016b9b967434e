/** Headers that whole kinds of operations share, for the OpenAPI document; the guards read them. */
import type * as OpenApi from "effect/http-api/OpenApi"

type Json = Record<string, unknown>
type Operation = { parameters?: Array<Json>; responses?: Record<string, { headers?: Json }> }

const header = (name: string, description: string) => ({ name, in: "header", required: false, schema: { type: "string" }, description })

const idempotencyKey = header(
  "idempotency-key",
  "1 to 200 visible characters. The same request with the same key is carried out once; another request with that key is answered 422."
)
const minPosition = header("x-min-position", "The `x-position` of an earlier change: the answer then contains it.")
const tenantId = header("x-tenant-id", "May name the tenant of the path once more; another one is answered 403.")
const spaceId = header("x-space-id", "May name the space of the API key once more; another one is answered 403.")
const position = { "x-position": { schema: { type: "string" }, description: "Read on from here: see `x-min-position`." } }

const parametersOf = (method: string, path: string): ReadonlyArray<Json> => [
  ...(["post", "put", "patch"].includes(method) ? [idempotencyKey] : []),
  ...(method === "get" ? [minPosition] : []),
  ...(path.includes("{tid}") ? [tenantId] : []),
  spaceId
]

const describe = (method: string, path: string, operation: Operation) => {
  operation.parameters = [...(operation.parameters ?? []), ...parametersOf(method, path)]
  if (method === "get") return
  for (const [status, response] of Object.entries(operation.responses ?? {}))
    if (status.startsWith("2")) response.headers = { ...response.headers, ...position }
}

const securitySchemes = {
  apiKey: { type: "apiKey", in: "header", name: "x-api-key", description: "An API key. `x-fastn-api-key` is accepted as well." },
  bearer: { type: "http", scheme: "bearer", description: "The same key as a bearer token." }
}

/** Adds them to every operation of the document, and the ways to send the key. */
// biome-ignore lint/suspicious/noExplicitAny: the type of the annotation that this is given to.
export const describeHeaders = (document: Record<string, any>): Record<string, any> => {
  for (const [path, item] of Object.entries((document as OpenApi.OpenAPISpec).paths))
    for (const [method, operation] of Object.entries(item as Record<string, Operation>)) describe(method, path, operation)
  return { ...document, security: [{ apiKey: [] }, { bearer: [] }], components: { ...document["components"], securitySchemes } }
}
