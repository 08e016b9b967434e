/** A platform with tenants whose shop orders become entries in the ledger, and a vendor that delivers until it is answered. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { order, ordersFlow, sign, signingSecret } from "../support/orders.ts"
import { end, launch, type PlatformProcess } from "./platform-process.ts"

export interface LedgerLine {
  /** Milliseconds on the machine's monotonic clock, as `monotonicMillis`. */
  readonly at: number
  /** Null: the call had none, as one that must not be repeated. */
  readonly key: string | null
  readonly order: string
  readonly apiKey: string
  readonly repeated: boolean
}
export const monotonicMillis = (): number => Number(process.hrtime.bigint()) / 1e6

export interface Ledger {
  readonly address: string
  readonly lines: () => ReadonlyArray<LedgerLine>
  /** Orders that were entered under more than one idempotency key: doubled effects. */
  readonly doubled: () => ReadonlyArray<string>
  /** How often each order came without a key. */
  readonly unkeyed: () => ReadonlyMap<string, number>
  readonly orders: () => ReadonlySet<string>
  readonly end: () => Promise<void>
}

/** `answerMillis`: how long the app takes to answer each call. */
export const startLedger = async (folder: string, answerMillis = 0): Promise<Ledger> => {
  const file = join(folder, "ledger.jsonl")
  const app = await launch(new URL("./ledger-app.ts", import.meta.url).pathname, [file, String(answerMillis)], /^(\d+)\n/u)
  const lines = () =>
    readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as LedgerLine)
  return {
    address: `http://127.0.0.1:${app.match[1]}`,
    lines,
    orders: () => new Set(lines().map(({ order: id }) => id)),
    doubled: () => {
      const keys = new Map<string, Set<string>>()
      for (const { order: id, key } of lines()) if (key !== null) keys.set(id, (keys.get(id) ?? new Set()).add(key))
      return [...keys].filter(([, used]) => used.size > 1).map(([id]) => id)
    },
    unkeyed: () => {
      const counts = new Map<string, number>()
      for (const { order: id, key } of lines()) if (key === null) counts.set(id, (counts.get(id) ?? 0) + 1)
      return counts
    },
    end: () => end(app.child, "SIGTERM")
  }
}

/** The usual flow, its call answered within so long or given up. */
export const orderedWithin = (timeoutMillis: number): string =>
  ordersFlow().replace("    action: createOrder\n", `    action: createOrder\n    timeoutMillis: ${timeoutMillis}\n`)

export const publishOrders = async (platform: PlatformProcess, flow = ordersFlow()): Promise<void> => {
  await platform.api("POST", "/workflows", flow)
  await platform.api("POST", "/workflows/orders-to-erp/publish")
}

/** Makes a tenant that has everything; returns where its shop delivers to. */
export const addTenant = async (platform: PlatformProcess, id: string, ledger: Ledger, plan = "enterprise"): Promise<string> => {
  await platform.api("POST", "/tenants", { id, plan })
  await platform.api("POST", `/tenants/${id}/connections`, {
    connector: "erp",
    method: "apiKey",
    secrets: { apiKey: `${id}-key` },
    variables: { address: ledger.address }
  })
  await platform.api("PUT", `/tenants/${id}/workflows/orders-to-erp`, {})
  const hook = await platform.api<{ url: string }>("POST", `/tenants/${id}/hooks`, { connector: "shop", secret: signingSecret })
  return hook.url
}

/** One delivery; undefined: it was not answered. */
export const deliverOnce = async (hook: string, index: number): Promise<Response | undefined> => {
  const body = order(index)
  try {
    const response = await fetch(hook, {
      method: "POST",
      body,
      headers: {
        "content-type": "application/json",
        "x-shopify-topic": "orders/create",
        "x-shopify-webhook-id": `delivery-${index}`,
        "x-shopify-hmac-sha256": sign(body)
      }
    })
    await response.text()
    return response
  } catch {
    return undefined
  }
}

/** Delivers like a vendor: again and again until it is answered with a 2xx. Resolves with the number of tries. */
export const deliver = async (hook: string, index: number, pauseMillis = 50): Promise<number> => {
  for (let tries = 1; ; tries++) {
    if ((await deliverOnce(hook, index))?.ok === true) return tries
    await pause(pauseMillis)
  }
}

export interface Deliveries {
  /** Deliveries on their way at the same time. */
  readonly atOnce?: number
  readonly delivered?: (index: number) => void
  /** Until it holds for an order, its delivery waits. */
  readonly mayGo?: (index: number) => boolean
  /** Once it holds, nothing more is delivered. */
  readonly isOver?: () => boolean
}

/** Delivers orders `from` to below `to`. Resolves with the number of deliveries that were tried again. */
export const deliverAll = async (
  hook: string,
  from: number,
  to: number,
  { atOnce = 4, delivered = () => {}, mayGo = () => true, isOver = () => false }: Deliveries = {}
): Promise<number> => {
  let next = from
  let again = 0
  const sender = async () => {
    while (next < to && !isOver()) {
      const index = next++
      while (!mayGo(index)) await pause(10)
      again += (await deliver(hook, index)) - 1
      delivered(index)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, sender))
  return again
}

export const externalIdOf = (index: number): string => String(5_600_000_000 + index)

/** How many runs of a tenant stand how, by the list over HTTP. */
export const statusesOf = async (platform: PlatformProcess, tenant: string): Promise<Readonly<Record<string, number>>> => {
  const statuses: Record<string, number> = {}
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: { readonly items: ReadonlyArray<{ readonly status: string }>; readonly next: string | null } = await platform.api(
      "GET",
      `/tenants/${tenant}/executions?limit=200${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`
    )
    for (const { status } of page.items) statuses[status] = (statuses[status] ?? 0) + 1
    cursor = page.next
  }
  return statuses
}

/** Waits until it holds; false: it did not, for so long. */
export const eventually = async (holds: () => boolean | Promise<boolean>, millisMax: number, pauseMillis = 50): Promise<boolean> => {
  const deadline = performance.now() + millisMax
  while (!(await holds())) {
    if (performance.now() > deadline) return false
    await pause(pauseMillis)
  }
  return true
}
