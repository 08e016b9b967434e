/** Projections: how far the read models are, and making them anew. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { listOf } from "./common.ts"
import { Authenticated, Described, Needs, Permitted } from "./guards.ts"

const Progress = Schema.Struct({
  /** `runs@1`, or `runs@1+2` for its second generation, made by a rebuild. */
  model: Schema.String,
  status: Schema.Literals(["live", "building", "catching-up", "standby", "quarantined", "frozen"]),
  position: Schema.NullOr(Schema.String),
  rows: Schema.Int,
  /** From 0 to 1, where the journal's positions can be counted. */
  share: Schema.NullOr(Schema.Finite),
  eventsPerSecond: Schema.NullOr(Schema.Finite),
  /** The event that stopped it, and why. */
  fault: Schema.NullOr(Schema.Struct({ position: Schema.String, type: Schema.String, error: Schema.String }))
}).annotate({ identifier: "ModelProgress" })

const ProjectionBody = Schema.Struct({
  name: Schema.String,
  version: Schema.Int,
  /** The generation that answers; null: none can yet. */
  serving: Schema.NullOr(Progress),
  /** The generation that is being made to take its place. */
  building: Schema.NullOr(Progress),
  /** Position of the newest event. */
  head: Schema.NullOr(Schema.String)
}).annotate({ identifier: "Projection" })

export class ProjectionsApi extends HttpApiGroup.make("projections")
  .add(
    HttpApiEndpoint.get("list", "/", { success: listOf(ProjectionBody) })
      .annotate(Needs, "projections:read")
      .annotateMerge(OpenApi.annotations({ summary: "List projections with their progress" })),
    HttpApiEndpoint.post("rebuild", "/:name/rebuild", {
      params: { name: Schema.String },
      success: ProjectionBody.pipe(HttpApiSchema.status(202))
    })
      .annotate(Needs, "projections:rebuild")
      .annotateMerge(
        OpenApi.annotations({
          summary: "Rebuild a projection from the log",
          description: "The old one serves until the new one has caught up."
        })
      )
  )
  .prefix("/api/v1/projections")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Projections", description: "How far the read models are." })) {}
