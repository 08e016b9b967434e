/** An ERP on loopback: takes orders by API key, honours idempotency keys, and remembers every call. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"

export interface ErpCall {
  readonly apiKey: string
  readonly key: string
  readonly body: string
  readonly status: number
}
export interface Erp {
  readonly address: string
  readonly calls: ReadonlyArray<ErpCall>
  /** Orders that were entered: one per idempotency key. */
  readonly orders: ReadonlyMap<string, string>
  readonly close: () => Promise<void>
}
export type Script = (call: {
  readonly number: number
  readonly key: string
  readonly apiKey: string
}) => { readonly status: number; readonly headers?: Record<string, string> } | "hang" | "reset"

export const startErp = async (script: Script = () => ({ status: 201 })): Promise<Erp> => {
  const calls: Array<ErpCall> = []
  const orders = new Map<string, string>()
  const server: Server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const key = String(request.headers["idempotency-key"] ?? "")
      const apiKey = String(request.headers["x-api-key"] ?? "")
      const body = Buffer.concat(chunks).toString()
      const answer = script({ number: calls.length, key, apiKey })
      if (answer === "hang") return void calls.push({ apiKey, key, body, status: 0 })
      if (answer === "reset") {
        calls.push({ apiKey, key, body, status: 0 })
        return void request.socket.destroy()
      }
      calls.push({ apiKey, key, body, status: answer.status })
      if (answer.status === 201 && !orders.has(key)) orders.set(key, body)
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers })
      response.end(answer.status === 201 ? JSON.stringify({ id: `erp-${orders.size}` }) : JSON.stringify({ error: { message: "not now" } }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    orders,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
