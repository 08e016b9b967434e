/** What runs here: for operators. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Authenticated, Described, Needs, Permitted } from "./guards.ts"

export const SystemInfo = Schema.Struct({
  version: Schema.String,
  node: Schema.String,
  form: Schema.Literals(["embedded", "distributed"]),
  role: Schema.Literals(["all", "api", "worker"]),
  /** Id of the journal: positions of another one do not compare. */
  journalId: Schema.String,
  /** Position of the newest event; null on an empty journal. */
  head: Schema.NullOr(Schema.String),
  /** Null where servers keep the stores. */
  dataFolder: Schema.NullOr(Schema.String),
  disk: Schema.NullOr(Schema.Struct({ usedBytes: Schema.Int, freeBytes: Schema.Int, totalBytes: Schema.Int })),
  startedAt: Schema.Int
})

export class SystemApi extends HttpApiGroup.make("system")
  .add(
    HttpApiEndpoint.get("info", "/", { success: SystemInfo })
      .annotate(Needs, "projections:read")
      .annotateMerge(OpenApi.annotations({ summary: "What runs here", description: "Journal, versions, disk and data folder." }))
  )
  .prefix("/api/v1/system")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "System", description: "What runs here: for operators." })) {}
