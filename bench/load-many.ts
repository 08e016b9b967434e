/** The load generator over many URLs at random, as a vendor calls for many tenants: closed loop, one JSON line out. */
import { readFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { parseArgs } from "node:util"
import { Hist, monoMs, pool, runTag } from "./reference/payload.mjs"

const { values } = parseArgs({
  options: { urls: { type: "string" }, conns: { type: "string" }, seconds: { type: "string" }, rate: { type: "string" } }
})
const urls = readFileSync(values.urls!, "utf8").trim().split("\n")
const connections = Number(values.conns ?? 64)
const seconds = Number(values.seconds ?? 5)
const { host, hostname, port, pathname } = new URL(urls[0]!)
const origin = urls[0]!.slice(0, -pathname.length)
const answerMillisMax = 30_000

const bodies = pool()
const tag = runTag()
const latencies = new Hist()
const figures = { sent: 0, ok: 0, non2xx: 0, errors: 0, lastStatus: "" }
let stopped = false
let open = 0
let allAnswered = () => {}

const head = (index: number): string => {
  const { body, hmac } = bodies[index % bodies.length]!
  const path = urls[Math.floor(Math.random() * urls.length)]!.slice(origin.length)
  return (
    `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\nx-shopify-topic: orders/create\r\n` +
    `x-shopify-hmac-sha256: ${hmac}\r\nx-shopify-webhook-id: ${tag}-${index}\r\nx-bench-sent-at: ${monoMs().toFixed(3)}\r\n` +
    `content-length: ${body.length}\r\n\r\n`
  )
}

/** Length of a whole answer at the start of the text, or 0 when its end is not in yet. */
const answerLength = (text: string): number => {
  const headEnd = text.indexOf("\r\n\r\n")
  if (headEnd < 0) return 0
  const length = headEnd + 4 + Number(/content-length: (\d+)/iu.exec(text.slice(0, headEnd))?.[1] ?? 0)
  return text.length < length ? 0 : length
}

const drive = (socket: Socket) => {
  let text = ""
  let sentAt = 0
  const next = () => {
    if (stopped) return
    const index = figures.sent++
    open++
    sentAt = monoMs()
    socket.cork()
    socket.write(head(index), "latin1")
    socket.write(bodies[index % bodies.length]!.body)
    socket.uncork()
  }
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1")
    if (answerLength(text) === 0) return
    const status = text.slice(9, 12)
    text = ""
    open--
    if (status.startsWith("2")) {
      figures.ok++
      latencies.add(monoMs() - sentAt)
    } else {
      figures.non2xx++
      figures.lastStatus = status
    }
    if (stopped && open === 0) allAnswered()
    next()
  })
  socket.on("close", () => {
    if (!stopped) throw new Error("The server closed a connection.")
  })
  next()
}

const sockets = await Promise.all(
  Array.from({ length: connections }, () => {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>()
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    socket.once("connect", () => resolve(socket)).once("error", reject)
    return promise
  })
)
const began = monoMs()
const cpuBefore = process.cpuUsage()
for (const socket of sockets) drive(socket)
await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
const elapsed = (monoMs() - began) / 1000
const { user, system } = process.cpuUsage(cpuBefore)
const perSecond = figures.ok / elapsed
stopped = true
if (open > 0) {
  await new Promise<void>((resolve) => {
    allAnswered = resolve
    setTimeout(resolve, answerMillisMax)
  })
}
console.log(
  JSON.stringify({ tag, ...figures, perSecond, seconds: elapsed, latency: latencies.summary(), loadCpu: (user + system) / 1e6 / elapsed })
)
process.exit(0)
