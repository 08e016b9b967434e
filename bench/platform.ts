/** The subject: the real platform, started as its own process on a temporary data folder and set up through its HTTP API. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type Child, freePort, launch, until } from "./child.ts"
import { dataFolderOf, masterKeyFileOf } from "./embedded.ts"
import { SECRET } from "./reference/payload.mjs"

const root = join(import.meta.dirname, "..")
/** As `npm start` has them. */
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly scripts: { readonly start: string } }
const engineFlags = scripts.start.match(/--\S+/gu) ?? []
const readySeconds = 60
/** Of any one answer of the API. */
const answerMillis = 30_000

export interface StartOptions {
  readonly folder: string
  /** The first admin key, where an earlier start on the same folder has printed it. */
  readonly key?: string | undefined
  /** Arguments for Node itself, such as an inspector. */
  readonly nodeArguments?: ReadonlyArray<string>
  /** Variables beyond the usual ones, such as the servers of the distributed form. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Platform {
  readonly url: string
  readonly key: string
  readonly child: Child
  /** Calls the API: a path below `/api/v1`. Fails with the problem's own words. */
  readonly call: <A = unknown>(method: string, path: string, body?: object) => Promise<A>
  /** One sample of `/metrics`, by the name after `tributary_`, labels included. */
  readonly metric: (name: string) => Promise<number>
}

/** The key as it is printed, once, at the first start. */
const keyPattern = /trib_[a-z0-9]+_[a-z0-9]+_[a-z2-7]{32}/u

const isReady = async (url: string): Promise<true | null> => {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(answerMillis) })).ok ? true : null
  } catch {
    return null
  }
}

const sampleOf = (text: string, name: string): number => {
  const line = text.split("\n").find((each) => each.startsWith(`tributary_${name} `))
  if (line === undefined) throw new Error(`The platform's metrics have no tributary_${name}:\n${text.slice(0, 4000)}`)
  return Number(line.slice(line.lastIndexOf(" ") + 1))
}

/** Starts the process as `npm start` does, without waiting until it answers. */
export const spawnPlatform = async ({
  folder,
  nodeArguments = [],
  environment = {}
}: StartOptions): Promise<{ readonly url: string; readonly child: Child }> => {
  const port = await freePort()
  const child = launch(
    [
      ...engineFlags,
      ...nodeArguments,
      join(root, "infra/tributary.mjs"),
      "start",
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
      "--data",
      dataFolderOf(folder)
    ],
    {
      MALLOC_ARENA_MAX: "2",
      MALLOC_TRIM_THRESHOLD_: "131072",
      TRIBUTARY_MASTER_KEY_FILE: masterKeyFileOf(folder),
      TRIBUTARY_EGRESS_ALLOW: "127.0.0.1",
      TRIBUTARY_LOG_LEVEL: "Warn",
      ...environment
    },
    root
  )
  return { url: `http://127.0.0.1:${port}`, child }
}

/** A handle on a running platform. */
export const platformAt = (url: string, key: string, child: Child): Platform => ({
  url,
  key,
  child,
  call: async <A>(method: string, path: string, body?: object): Promise<A> => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { "x-api-key": key, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(answerMillis)
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text.slice(0, 1000)}`)
    return (text === "" ? null : JSON.parse(text)) as A
  },
  metric: async (name) => sampleOf(await (await fetch(`${url}/metrics`, { headers: { "x-api-key": key } })).text(), name)
})

/** Starts the platform and waits until it is ready. */
export const startPlatform = async (options: StartOptions): Promise<Platform> => {
  const { url, child } = await spawnPlatform(options)
  await until("the platform to be ready", readySeconds, () => {
    if (!child.alive()) throw new Error(`The platform ended at its start:\n${child.output().slice(-4000)}`)
    return isReady(url)
  })
  const key = options.key ?? (await child.says(keyPattern))[0]
  return platformAt(url, key, child)
}

/** The app that runs call: what arrives there is what a sink understands. */
const sinkConnector = {
  id: "bench-sink",
  name: "Bench sink",
  baseUrl: "{address}",
  variables: { address: { kind: "origin" } },
  auth: { apiKey: { kind: "apiKey", place: { in: "header", name: "x-api-key" } } },
  actions: {
    deliver: { method: "POST", path: "/", body: "input", effect: "idempotent", idempotencyHeader: "idempotency-key", timeoutMillis: 60_000 }
  }
}

/** Five fields of the order, then one call. */
const flowFor = (id: string, event: string) => ({
  id,
  trigger: { connector: "shop", event },
  steps: [
    {
      id: "order",
      kind: "transform",
      expression:
        '{ "delivery": trigger.headers.`x-shopify-webhook-id`, "sent_at": trigger.headers.`x-bench-sent-at`, ' +
        '"order_id": trigger.body.id, "email": trigger.body.email, "total": trigger.body.total_price }'
    },
    { id: "send", kind: "action", connector: "bench-sink", action: "deliver", input: "= steps.order.output" }
  ]
})

/** The flow that the load's orders start, and one that waits for another event. */
export const runningFlow = "orders-to-sink"
export const idleFlow = "refunds-to-sink"

/** What all tenants of the bench share: the sink's connector and the two flows. */
export const prepareSpace = async ({ call }: Platform): Promise<void> => {
  await call("POST", "/connectors", sinkConnector)
  for (const flow of [flowFor(runningFlow, "orders/create"), flowFor(idleFlow, "orders/cancelled")]) {
    await call("POST", "/workflows", flow)
    await call("POST", `/workflows/${flow.id}/publish`)
  }
}

export interface NewBenchTenant {
  readonly id: string
  readonly flow: typeof runningFlow | typeof idleFlow
  readonly sinkUrl: string
}

/** A tenant that may receive more events than any load brings, with its quota counted; answers the URL to deliver at. */
export const addTenant = async ({ call, url }: Platform, { id, flow, sinkUrl }: NewBenchTenant): Promise<string> => {
  const at = `/tenants/${id}`
  await call("POST", "/tenants", { id, plan: "growth" })
  await call("PUT", `${at}/settings/quota.eventsPerDay.limit`, { value: 1_000_000_000 })
  await call("POST", `${at}/connections`, {
    connector: "bench-sink",
    method: "apiKey",
    secrets: { apiKey: "bench-key" },
    variables: { address: sinkUrl }
  })
  await call("PUT", `${at}/workflows/${flow}`, {})
  const created = await call<{ readonly url: string }>("POST", `${at}/hooks`, { connector: "shop", secret: SECRET })
  return url + new URL(created.url).pathname
}
