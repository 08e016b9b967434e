/** Connectors: the apps that flows can work with, by their manifests. */

import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { ConnectorNotFound } from "#domain/connector.ts"
import { ConnectorId } from "#domain/ids.ts"
import { Manifest } from "#domain/manifest.ts"
import { ManifestInvalid } from "#services/connectors.ts"
import { problem } from "../problems.ts"
import { listOf } from "./common.ts"
import { documentPayload } from "./documents.ts"
import { Authenticated, Described, Needs, Permitted } from "./guards.ts"

const Summary = Schema.Struct({
  id: ConnectorId,
  name: Schema.String,
  /** 0: built in. */
  version: Schema.Int,
  /** Of the space, or from the catalogue of this release. */
  visibility: Schema.Literals(["organisation", "community"])
}).annotate({ identifier: "ConnectorSummary" })
const Published = Schema.Struct({ id: ConnectorId, version: Schema.Int, contentHash: Schema.String }).annotate({
  identifier: "PublishedConnector"
})

export class ConnectorsApi extends HttpApiGroup.make("connectors")
  .add(
    HttpApiEndpoint.get("list", "/", { success: listOf(Summary) })
      .annotate(Needs, "connectors:read")
      .annotateMerge(OpenApi.annotations({ summary: "List connectors", description: "The space's own and the built-in ones." })),
    HttpApiEndpoint.post("publish", "/", {
      payload: documentPayload,
      success: Published.pipe(HttpApiSchema.status(201)),
      error: problem(ManifestInvalid, 422, "The manifest is not valid")
    })
      .annotate(Needs, "connectors:write")
      .annotateMerge(
        OpenApi.annotations({ summary: "Publish a connector's manifest", description: "YAML or JSON. Becomes the next version." })
      ),
    HttpApiEndpoint.get("get", "/:id", {
      params: { id: Schema.String },
      success: Schema.Struct({ id: ConnectorId, version: Schema.Int, manifest: Manifest }),
      error: problem(ConnectorNotFound, 404, "No such connector")
    })
      .annotate(Needs, "connectors:read")
      .annotateMerge(OpenApi.annotations({ summary: "Get a connector's manifest" }))
  )
  .prefix("/api/v1/connectors")
  .middleware(Permitted)
  .middleware(Authenticated)
  .middleware(Described)
  .annotateMerge(OpenApi.annotations({ title: "Connectors", description: "The apps that flows can work with." })) {}
