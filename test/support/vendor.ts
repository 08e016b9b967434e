/** An outside app on loopback that keeps every request as it came and answers as the test says. */
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"

export interface VendorCall {
  readonly method: string
  /** As it stood in the request line. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: ReadonlyArray<string>
  readonly body: string
}
export interface VendorAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}
export interface Vendor {
  /** Its origin, `http://127.0.0.1:<port>`. */
  readonly address: string
  readonly calls: ReadonlyArray<VendorCall>
  readonly close: () => Promise<void>
}

/** `"reset"` closes the connection without an answer, `"hang"` never answers. */
export const startVendor = async (script: (call: VendorCall) => VendorAnswer | "reset" | "hang"): Promise<Vendor> => {
  const calls: Array<VendorCall> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { method, url, headers, rawHeaders } = request
      const call = { method: method!, url: url!, headers, rawHeaders, body: Buffer.concat(chunks).toString() }
      calls.push(call)
      const answer = script(call)
      if (answer === "hang") return
      if (answer === "reset") return void request.socket.destroy()
      response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers }).end(answer.body ?? "{}")
    })
  }).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
