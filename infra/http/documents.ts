/** What describes and measures the API: OpenAPI document, reference page, metrics. */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as OpenApi from "effect/http-api/OpenApi"
import { Metrics } from "../metrics.ts"
import { Api } from "./api/api.ts"

/** The bundled page runs its own script and style, and may call nobody but us. */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")

/** Made when first asked for: it costs more than a start may. */
const openApi = Effect.runSync(Effect.cached(Effect.sync(() => JSON.stringify(OpenApi.fromApi(Api)))))

/** The page and its 3 MB script come in when somebody asks for them. */
const referencePage = Effect.promise(() => import("effect/http-api/HttpApiScalar")).pipe(
  Effect.flatMap(({ layer }) => Effect.scoped(HttpRouter.toHttpEffect(layer(Api, { path: "/docs", scalar: { withDefaultFonts: false } })))),
  Effect.cached,
  Effect.runSync
)
const docs = Effect.flatten(referencePage).pipe(
  Effect.map(HttpServerResponse.setHeader("content-security-policy", pagePolicy)),
  Effect.orDie
)

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const metrics = yield* Metrics
    yield* router.add(
      "GET",
      "/openapi.json",
      Effect.map(openApi, (json) => HttpServerResponse.text(json, { contentType: "application/json" }))
    )
    yield* router.add("GET", "/docs", docs)
    yield* router.add(
      "GET",
      "/metrics",
      Effect.map(metrics.scrape, (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" }))
    )
  })
)
