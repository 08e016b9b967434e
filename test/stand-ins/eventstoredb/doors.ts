/** The stand-in's connections: who may come in, and how all of them are broken at once. */
import { createServer, type Server, type Socket } from "node:net"
import type { Metadata } from "@grpc/grpc-js"
import type { Faults } from "./faults.ts"

export class Doors {
  private readonly sockets = new Set<Socket>()
  private readonly faults: Faults
  private readonly authorization: string | null

  /** Credentials as `user:password`; null: everybody. */
  constructor(faults: Faults, credentials: string | null) {
    this.faults = faults
    this.authorization = credentials === null ? null : `Basic ${Buffer.from(credentials).toString("base64")}`
  }

  allows(metadata: Metadata): boolean {
    return this.authorization === null || metadata.get("authorization")[0] === this.authorization
  }

  /** Resets every connection: whoever waits for an answer gets none. */
  breakAll(): void {
    this.faults.counts.resets++
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  listener(accept: (socket: Socket) => void): Server {
    return createServer({ noDelay: true }, (socket) => {
      this.sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => this.sockets.delete(socket))
      accept(socket)
    })
  }
}
