/** The stand-in's control port: HTTP on loopback, by which a test makes it fail. */
import { createServer, type Server } from "node:http"
import type { Doors } from "./doors.ts"
import type { Engine } from "./engine.ts"
import type { Faults } from "./faults.ts"

/** Each path takes its numbers from the query: `POST /drop-answers?count=3`. */
export const controlServer = (engine: Engine, faults: Faults, doors: Doors): Server => {
  const actions: Readonly<Record<string, (query: URLSearchParams) => unknown>> = {
    "/delay": (query) => {
      faults.delayMillis = Number(query.get("millis"))
    },
    "/drop-answers": (query) => {
      faults.dropAnswers = Number(query.get("count"))
    },
    "/not-leader": (query) => {
      faults.notLeaderFor = Number(query.get("count"))
      if (query.has("port")) faults.leader = { host: query.get("host") ?? "127.0.0.1", port: Number(query.get("port")) }
    },
    "/freeze": () => faults.freeze(),
    "/thaw": () => faults.thaw(),
    "/reset": () => doors.breakAll(),
    "/scavenge": () => ({ removed: engine.scavenge() }),
    "/wipe": () => engine.wipe(),
    "/counts": () => ({ ...faults.counts, events: engine.log.length, left: faults.dropAnswers })
  }
  return createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://control")
    const action = actions[pathname]
    response.writeHead(action === undefined ? 404 : 200, { "content-type": "application/json" })
    response.end(JSON.stringify(action?.(searchParams) ?? {}))
  })
}
