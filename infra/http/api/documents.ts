/** Documents in requests: YAML as text, or JSON as the document itself. */

import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"

/** Content types `application/yaml`, `text/yaml` (both text) and `application/json` (the document). */
export const documentPayload = [
  Schema.String.pipe(HttpApiSchema.asText({ contentType: "application/yaml" })),
  Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/yaml" })),
  Schema.Record(Schema.String, Schema.Json)
] as const

/** The document's text, as it came when it was text. */
export const textOf = (document: string | Readonly<Record<string, Schema.Json>>): string =>
  typeof document === "string" ? document : JSON.stringify(document)
