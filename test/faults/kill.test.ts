/** F1: `kill -9` at random times under load. The oracle is the ledger of an app in its own process, flushed before it answers. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { assert, describe, it } from "vitest"
import { order, ordersFlow, sign, signingSecret } from "../support/orders.ts"
import { end, launch, type PlatformProcess, startPlatform } from "./platform-process.ts"

const runs = Number(process.env["FAULT_RUNS"] ?? 1_000)
const kills = Number(process.env["FAULT_KILLS"] ?? 25)
const seed = Number(process.env["FAULT_SEED"] ?? 20_261_120)

/** Numbers in [0, 1) that a seed repeats: mulberry32. */
const randomFrom = (start: number) => {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface LedgerLine {
  readonly key: string
  readonly order: string
  readonly repeated: boolean
}

/** Delivers like a vendor: again and again until it is answered with a 2xx. Resolves with the number of tries. */
const deliver = async (hook: string, index: number): Promise<number> => {
  const body = order(index)
  for (let tries = 1; ; tries++) {
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
      if (response.ok) return tries
    } catch {
      // It is down: a vendor comes again.
    }
    await pause(50)
  }
}

/** How many runs stand how, by the list over HTTP. */
const statusesOf = async (platform: PlatformProcess) => {
  const statuses = new Map<string, number>()
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: { readonly items: ReadonlyArray<{ readonly status: string }>; readonly next: string | null } = await platform.api(
      "GET",
      `/tenants/acme-corp/executions?limit=200${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`
    )
    for (const { status } of page.items) statuses.set(status, (statuses.get(status) ?? 0) + 1)
    cursor = page.next
  }
  return statuses
}

describe("F1: killed at random times", () => {
  it(`loses no acknowledged event and doubles no effect in ${kills} kills over ${runs} runs`, { timeout: 240_000 }, async () => {
    const platform = await startPlatform()
    const ledgerFile = join(platform.folder, "ledger.jsonl")
    const app = await launch(new URL("./ledger-app.ts", import.meta.url).pathname, [ledgerFile], /^(\d+)\n/u)
    const ledger = () =>
      readFileSync(ledgerFile, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as LedgerLine)
    try {
      await platform.api("POST", "/workflows", ordersFlow())
      await platform.api("POST", "/workflows/orders-to-erp/publish")
      await platform.api("POST", "/tenants", { id: "acme-corp", plan: "enterprise" })
      await platform.api("POST", "/tenants/acme-corp/connections", {
        connector: "erp",
        method: "apiKey",
        secrets: { apiKey: "erp-key" },
        variables: { address: `http://127.0.0.1:${app.match[1]}` }
      })
      await platform.api("PUT", "/tenants/acme-corp/workflows/orders-to-erp", {})
      const hook = await platform.api<{ url: string }>("POST", "/tenants/acme-corp/hooks", { connector: "shop", secret: signingSecret })

      const random = randomFrom(seed)
      let next = 0
      let again = 0
      const sender = async () => {
        while (next < runs) again += (await deliver(hook.url, next++)) - 1
      }
      const sent = Promise.all([sender(), sender(), sender(), sender()])
      let injected = 0
      while (injected < kills) {
        // Fast senders would be done before the last kill: they get a share of the runs per life.
        await pause(100 + random() * 500)
        await platform.kill()
        injected++
        await platform.start()
      }
      await sent

      const orders = () => new Map(ledger().map(({ order: id, key }) => [id, key]))
      const deadline = performance.now() + 60_000
      while (orders().size < runs && performance.now() < deadline) await pause(100)

      const keysOf = new Map<string, Set<string>>()
      for (const { order: id, key } of ledger()) keysOf.set(id, (keysOf.get(id) ?? new Set()).add(key))
      const doubled = [...keysOf].filter(([, keys]) => keys.size > 1)
      const repeats = ledger().filter(({ repeated }) => repeated).length
      const succeeded = ["succeeded", runs].join()
      let statuses = await statusesOf(platform)
      while ([...statuses].join() !== succeeded && performance.now() < deadline) {
        await pause(200)
        statuses = await statusesOf(platform)
      }
      console.log(
        `injected ${injected} kills (seed ${seed}); ${runs} events acknowledged, ${again} deliveries tried again; ` +
          `${keysOf.size} orders, ${doubled.length} doubled, ${repeats} calls repeated under their key; runs: ${JSON.stringify([...statuses])}`
      )
      assert.strictEqual(injected, kills)
      assert.isAtLeast(again, 1)
      assert.strictEqual(keysOf.size, runs, "lost")
      assert.deepStrictEqual(doubled, [])
      assert.deepStrictEqual([...statuses], [["succeeded", runs]])
    } finally {
      await end(app.child, "SIGTERM")
      await platform.remove()
    }
  })
})
