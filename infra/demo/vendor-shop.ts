/** A vendor app in its own process: sends signed order webhooks as Shopify does, again and again until they are acknowledged. */
import { createHmac, randomUUID } from "node:crypto"
import { Agent, request } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import type { FromShop, SentOrder, Shop, ToShop } from "./messages.ts"
import { makeOrder, type Order } from "./orders.ts"

const say = (message: FromShop) => process.send?.(message)
const agent = new Agent({ keepAlive: true, maxSockets: 32 })

/** Shopify waits minutes and hours; the demo has seconds. */
const firstPauseMillis = 150
const pauseMaxMillis = 1_500
const triesMax = 40
const answerTimeoutMillis = 5_000

const sign = (body: string, secret: string): string => createHmac("sha256", secret).update(body, "utf8").digest("base64")

interface Answer {
  /** Null: no answer. */
  readonly status: number | null
  readonly text: string
}

const post = (shop: Shop, webhookId: string, body: string, signature: string): Promise<Answer> =>
  new Promise((resolve) => {
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-shopify-topic": "orders/create",
      "x-shopify-hmac-sha256": signature,
      "x-shopify-shop-domain": `${shop.name}.myshopify.com`,
      "x-shopify-api-version": "2026-10",
      "x-shopify-webhook-id": webhookId,
      "x-shopify-triggered-at": new Date().toISOString()
    }
    const none = () => resolve({ status: null, text: "" })
    const call = request(shop.url, { method: "POST", agent, headers }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        text += chunk
      })
      response.on("end", () => resolve({ status: response.statusCode ?? null, text }))
      response.on("error", none)
    })
    call.setTimeout(answerTimeoutMillis, () => call.destroy())
    call.on("error", none)
    call.end(body)
  })

const isAcknowledged = ({ status }: Answer): boolean => status !== null && status >= 200 && status < 300

/** Repeats the very same bytes under the very same id. */
const deliver = async (shop: Shop, webhookId: string, body: string) => {
  const signature = sign(body, shop.secret)
  for (let tries = 1; ; tries++) {
    const answer = await post(shop, webhookId, body, signature)
    if (isAcknowledged(answer) || tries === triesMax) return { tries, status: isAcknowledged(answer) ? answer.status : null }
    await pause(Math.min(firstPauseMillis * 2 ** (tries - 1), pauseMaxMillis))
  }
}

const sell = async ({ shops, orders, perSecond, duplicates }: ToShop) => {
  const began = Date.now()
  const shopOf = (number: number): Shop => shops[number % shops.length]!
  const sent: Array<SentOrder> = []
  const repeated: Array<{ readonly webhookId: string; readonly status: number | null }> = []
  const everyNth = Math.max(1, Math.floor(orders / duplicates))

  const sendOne = async (number: number, order: Order) => {
    const shop = shopOf(number)
    const webhookId = randomUUID()
    const { tries, status } = await deliver(shop, webhookId, order.body)
    sent.push({ tenant: shop.tenant, orderId: order.id, webhookId, bytes: Buffer.byteLength(order.body), tries, status })
    say({ is: "acknowledged", count: sent.length })
    // Shopify promises "at least once": some come again although they were acknowledged.
    if (number % everyNth === everyNth - 1) repeated.push({ webhookId, status: (await deliver(shop, webhookId, order.body)).status })
  }
  const forge = async () => {
    const [shop] = shops as [Shop]
    const body = makeOrder(666, began).body
    const { status, text } = await post(shop, randomUUID(), body, sign(body, "a-guessed-secret"))
    const problem = status === null ? {} : (JSON.parse(text) as { detail?: string })
    return { status, said: problem.detail ?? "" }
  }

  const forged = await forge()
  const all = Array.from({ length: orders }, async (_, number) => {
    await pause((number * 1000) / perSecond)
    await sendOne(number, makeOrder(number, Date.now()))
  })
  await Promise.all(all)
  say({ is: "sold", orders: sent, duplicates: repeated, forged })
}

process.on("message", (message: ToShop) => void sell(message))
process.on("disconnect", () => process.exit(0))
say({ is: "ready" })
