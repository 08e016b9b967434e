/** Servers on loopback that remember who called, for tests of calls out. They close with the scope. */
import { once } from "node:events"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo, Server, Socket } from "node:net"
import * as Effect from "effect/Effect"

/** Counts the connections to a server, listens on a free port of 127.0.0.1, and closes it all with the scope. */
export const listen = <S extends Server>(server: S) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const seen = { connections: 0 }
      server.on("connection", (socket: Socket) => {
        seen.connections++
        sockets.add(socket)
        socket.on("error", () => undefined).on("close", () => sockets.delete(socket))
      })
      await once(server.listen(0, "127.0.0.1"), "listening")
      const { port } = server.address() as AddressInfo
      return { server, seen, sockets, port, host: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}` }
    }),
    ({ server, sockets }) =>
      Effect.promise(async () => {
        for (const socket of sockets) socket.destroy()
        server.close()
        await once(server, "close")
      })
  )

export const listenHttp = (handler: RequestListener) => listen(createServer(handler))
