/** A downstream app that takes its time: `node slow-sink.ts <port> <milliseconds>`. `GET /hold` keeps all answers back until `GET /release`. */
import { createServer, type ServerResponse } from "node:http"

const [port, millis] = process.argv.slice(2).map(Number) as [number, number]
const ok = Buffer.from('{"ok":true}')
const ids = new Set<string>()
let count = 0
let waiting = 0
let waitingMax = 0
let held: Array<ServerResponse> | null = null

const answer = (response: ServerResponse, body: Buffer) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length })
  response.end(body)
}

const answerSoon = (response: ServerResponse) =>
  setTimeout(() => {
    waiting--
    count++
    answer(response, ok)
  }, millis)

const release = () => {
  for (const response of held ?? []) answerSoon(response)
  held = null
}

const take = (response: ServerResponse, body: string) => {
  ids.add((JSON.parse(body) as { delivery: string }).delivery)
  waiting++
  waitingMax = Math.max(waitingMax, waiting)
  if (held === null) answerSoon(response)
  else held.push(response)
}

const reset = () => {
  count = 0
  waitingMax = waiting
  ids.clear()
}

const server = createServer((request, response) => {
  if (request.method === "GET") {
    if (request.url === "/reset") reset()
    if (request.url === "/hold") held ??= []
    if (request.url === "/release") release()
    return answer(response, Buffer.from(JSON.stringify({ count, distinct: ids.size, bad: 0, waiting, waitingMax })))
  }
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => take(response, Buffer.concat(chunks).toString()))
})
server.keepAliveTimeout = 60_000
server.requestTimeout = 0
server.listen({ port, host: "127.0.0.1", backlog: 4096 }, () => console.log(`sink on 127.0.0.1:${port}`))
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0))
