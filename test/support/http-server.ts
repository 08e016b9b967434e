/** The whole platform in this process, on a temporary folder, spoken to over a real socket. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { ProcessSettings } from "#infra/config.ts"
import { PublicUrl } from "#infra/config.ts"
import * as embedded from "#infra/embedded.ts"
import { figures } from "#infra/figures.ts"
import { hooksListener } from "#infra/http/hooks.ts"
import * as routes from "#infra/http/routes.ts"
import { serve } from "#infra/http/serve.ts"
import * as logging from "#infra/logging.ts"
import { Metrics } from "#infra/metrics.ts"
import { ApiKeys } from "#services/api-keys.ts"
import { Spaces } from "#services/spaces.ts"

type Services = Layer.Success<ReturnType<typeof embedded.layer>> | Metrics

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they know is there.
  readonly body: any
  readonly text: string
}
export interface AskOptions {
  readonly key?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}
export interface TestServer {
  readonly url: string
  /** The first admin's key. */
  readonly adminKey: string
  readonly context: Context.Context<Services>
  /** As the first admin unless another key is given; an empty key sends none. */
  readonly ask: (method: string, path: string, options?: AskOptions) => Promise<Answer>
  readonly stop: () => Promise<void>
}

const settingsIn = (folder: string): ProcessSettings => ({
  host: "127.0.0.1",
  port: 0,
  dataFolder: join(folder, "data"),
  masterKey: Option.some(Redacted.make("07".repeat(32))),
  masterKeyFile: Option.none(),
  servers: null,
  role: "all",
  runsInFlight: Option.none(),
  relay: Option.none(),
  publicUrl: Option.none(),
  trustedProxies: 0,
  egressAllow: "127.0.0.1",
  logLevel: "Fatal",
  stopSeconds: 5
})

const serving = Effect.gen(function* () {
  const context = yield* Effect.context<Services>()
  const space = yield* Context.get(context, Spaces).ensureDefault
  const issued = yield* Context.get(context, ApiKeys).ensureFirstAdmin(space)
  Context.get(context, Metrics).register(figures(context))
  const server = yield* serve({
    host: "127.0.0.1",
    port: 0,
    graceMillis: 2_000,
    hooks: (url) => hooksListener(context, { publicUrl: url }),
    routes: (url) =>
      Promise.resolve(routes.layer.pipe(Layer.provide(Layer.succeed(PublicUrl, url)), Layer.provide(Layer.succeedContext(context))))
  })
  yield* server.built
  return { url: server.url, adminKey: Redacted.value(issued!.text), context }
})

const answerOf = async (response: Response): Promise<Answer> => {
  const text = await response.text()
  const json = (response.headers.get("content-type") ?? "").includes("json")
  return { status: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : undefined }
}

export const startServer = async (): Promise<TestServer> => {
  const folder = mkdtempSync(join(tmpdir(), "tributary-http-"))
  const ended = Promise.withResolvers<void>()
  const started = Promise.withResolvers<{ url: string; adminKey: string; context: Context.Context<Services> }>()
  const running = Effect.runPromise(
    Effect.gen(function* () {
      started.resolve(yield* serving)
      yield* Effect.promise(() => ended.promise)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(embedded.layer(settingsIn(folder)), Metrics.layer)),
      Effect.provide(logging.layer("Fatal"))
    )
  )
  running.catch(started.reject)
  const { url, adminKey, context } = await started.promise
  return {
    url,
    adminKey,
    context,
    ask: async (method, path, { key = adminKey, body, headers = {} } = {}) =>
      answerOf(
        await fetch(url + path, {
          method,
          headers: {
            ...(key === "" ? {} : { "x-api-key": key }),
            ...(body === undefined ? {} : { "content-type": "application/json" }),
            ...headers
          },
          ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
        })
      ),
    stop: async () => {
      ended.resolve()
      await running
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
