/**
 * The oracle of the fault tests, a process of its own: an app that enters orders, honours idempotency keys where there are any and keeps a ledger on
 * disk, one line per call, flushed before it answers. Arguments: the ledger's file, milliseconds that each answer takes (0).
 * Prints its port.
 */
import { fdatasyncSync, openSync, writeSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const file = openSync(process.argv[2]!, "a", 0o600)
const answerMillis = Number(process.argv[3] ?? 0)
const entered = new Set<string>()
const server = createServer((request, response) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const key = request.headers["idempotency-key"]?.toString() ?? null
    const order = (JSON.parse(Buffer.concat(chunks).toString()) as { externalId: string }).externalId
    const repeated = key !== null && entered.has(key)
    if (key !== null) entered.add(key)
    writeSync(
      file,
      `${JSON.stringify({ at: Number(process.hrtime.bigint()) / 1e6, key, order, apiKey: request.headers["x-api-key"], repeated })}\n`
    )
    fdatasyncSync(file)
    // One call in eight is slow enough for a kill to fall between its effect and its answer.
    const answer = () => response.writeHead(repeated ? 200 : 201, { "content-type": "application/json" }).end('{"id":"x"}')
    const millis = answerMillis + (entered.size % 8 === 0 ? 60 : 0)
    if (millis > 0) setTimeout(answer, millis)
    else answer()
  })
})
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.on("SIGTERM", () => process.exit(0))
