/** A vendor app in its own process: an ERP that takes orders, keeps a ledger on disk, honours idempotency keys, and is sometimes busy. */
import { createHash } from "node:crypto"
import { fsyncSync, openSync, writeSync } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { FromErp, LedgerEntry, ToErp } from "./messages.ts"

const say = (message: FromErp) => process.send?.(message)
const sha256 = (text: string | Buffer): string => createHash("sha256").update(text).digest("hex")
/** What its work takes; long enough for a crash to find several orders in hand. */
const workMillis = (key: string): number => 150 + (Number.parseInt(sha256(key).slice(0, 4), 16) % 250)

/** The first call under one key in so many is answered 429, and one 503. */
const busyOneIn = 9
const busyStatus = (key: string): 429 | 503 | undefined => {
  const draw = Number.parseInt(sha256(`busy ${key}`).slice(0, 6), 16) % busyOneIn
  return draw === 0 ? 429 : draw === 1 ? 503 : undefined
}

const open = ({ ledger, credentials }: ToErp) => {
  const file = openSync(ledger, "a", 0o600)
  const booked = new Map<string, { readonly bodyHash: string; readonly id: string }>()
  const seen = new Set<string>()
  let inHand = 0

  const note = (entry: LedgerEntry) => {
    writeSync(file, `${JSON.stringify(entry)}\n`)
    fsyncSync(file)
  }
  const answer = (response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) => {
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
  }
  const refuse = (response: ServerResponse, key: string | null, status: 400 | 401 | 422, message: string) => {
    note({ kind: "refused", key, status, at: Date.now() })
    answer(response, status, { error: { message } })
  }

  /** Books it on disk first and answers after its work: a caller that dies in between finds it booked. */
  const book = (response: ServerResponse, tenant: string, key: string, body: Buffer) => {
    const bodyHash = sha256(body)
    const before = booked.get(key)
    if (before !== undefined && before.bodyHash !== bodyHash) return refuse(response, key, 422, "This key was used for another order.")
    const id = before?.id ?? `ERP-${String(1001 + booked.size)}`
    if (before === undefined) {
      booked.set(key, { bodyHash, id })
      const order = String((JSON.parse(body.toString("utf8")) as { externalId?: unknown }).externalId)
      note({ kind: "booked", key, tenant, order, bodyHash, at: Date.now() })
    } else note({ kind: "repeated", key, tenant, at: Date.now() })
    say({ is: "in hand", count: ++inHand })
    let answered = false
    response.on("close", () => {
      say({ is: "in hand", count: --inHand })
      if (!answered) note({ kind: "unheard", key, at: Date.now() })
    })
    setTimeout(() => {
      if (response.destroyed) return
      answered = true
      answer(response, before === undefined ? 201 : 200, { id, status: "booked" })
    }, workMillis(key))
  }

  const take = (request: IncomingMessage, response: ServerResponse, body: Buffer) => {
    const tenant = credentials[String(request.headers["x-api-key"])]
    const key = request.headers["idempotency-key"]
    if (tenant === undefined) return refuse(response, null, 401, "Unknown API key.")
    if (typeof key !== "string") return refuse(response, null, 400, "The header idempotency-key is missing.")
    const busy = seen.has(key) ? undefined : busyStatus(key)
    seen.add(key)
    if (busy === undefined) return book(response, tenant, key, body)
    note({ kind: "busy", key, tenant, status: busy, at: Date.now() })
    answer(response, busy, { error: { message: "Busy, try again." } }, busy === 429 ? { "retry-after": "1" } : {})
  }

  const server = createServer((request, response) => {
    if (request.method !== "POST" || request.url !== "/api/orders") return answer(response, 404, { error: { message: "Not here." } })
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => take(request, response, Buffer.concat(chunks)))
  })
  server.listen(0, "127.0.0.1", () => say({ is: "open", port: (server.address() as AddressInfo).port }))
}

process.on("message", (message: ToErp) => open(message))
process.on("disconnect", () => process.exit(0))
say({ is: "ready" })
