/** The keep-alive connections to one origin: as many as there are calls at a time, up to a limit; further calls wait in line. */
import type { buildConnector, Client } from "undici"
import UndiciClient from "undici/lib/dispatcher/client.js"
import type { Exchange } from "./exchange.ts"

interface Connection {
  readonly client: Client
  open: boolean
  /** Its place among the idle ones; -1 while a call uses it. */
  idleAt: number
}

export interface ConnectionsOptions {
  readonly connectionsMax: number
  readonly waitingMax: number
  readonly connect: buildConnector.connector
  /** No connection and no waiting call is left. */
  readonly emptied: () => void
}

/**
 * undici's own pool looks through all of its clients for each call, twice; with 2,000 calls in flight that costs more than the
 * call. Here an idle connection is popped from a stack, the most recently used first, so that a spent burst's connections close.
 */
export class Connections {
  private readonly all = new Set<Connection>()
  private readonly idle: Array<Connection> = []
  private waiting: Array<Exchange> = []
  private waitingHead = 0
  private readonly origin: string
  private readonly options: ConnectionsOptions

  constructor(origin: string, options: ConnectionsOptions) {
    this.origin = origin
    this.options = options
  }

  send(exchange: Exchange) {
    const connection = this.popIdle() ?? (this.all.size < this.options.connectionsMax ? this.open() : undefined)
    if (connection !== undefined) this.use(connection, exchange)
    else if (this.waiting.length - this.waitingHead < this.options.waitingMax) this.waiting.push(exchange)
    else exchange.stop("connect", `${this.options.waitingMax} calls to the same host are waiting already`)
  }

  /** Breaks every connection; calls in progress fail. */
  destroy() {
    for (const exchange of this.waiting.splice(0)) exchange.stop("connect", "the process is stopping")
    this.waitingHead = 0
    return Promise.all(Array.from(this.all, ({ client }) => client.destroy()))
  }

  private open(): Connection {
    const client = new UndiciClient(this.origin, {
      connect: this.options.connect,
      allowH2: false,
      pipelining: 1,
      // Each call carries its own deadline, which covers the connection, the headers and the body.
      headersTimeout: 0,
      bodyTimeout: 0
    })
    const connection: Connection = { client, open: false, idleAt: -1 }
    client.on("connect", () => {
      connection.open = true
    })
    client.on("disconnect", () => {
      connection.open = false
      if (connection.idleAt >= 0) this.drop(connection)
    })
    this.all.add(connection)
    return connection
  }

  private use(connection: Connection, exchange: Exchange) {
    exchange.whenReleased(() => this.release(connection))
    connection.client.dispatch(exchange.options, exchange)
  }

  private release(connection: Connection) {
    const next = this.nextWaiting()
    if (next !== undefined) this.use(connection, next)
    else if (connection.open) connection.idleAt = this.idle.push(connection) - 1
    else this.drop(connection)
  }

  private nextWaiting(): Exchange | undefined {
    while (this.waitingHead < this.waiting.length) {
      const exchange = this.waiting[this.waitingHead++]!
      if (!exchange.isOver) return exchange
    }
    if (this.waitingHead > 0) {
      this.waiting = []
      this.waitingHead = 0
    }
    return undefined
  }

  private popIdle(): Connection | undefined {
    const connection = this.idle.pop()
    if (connection !== undefined) connection.idleAt = -1
    return connection
  }

  private drop(connection: Connection) {
    if (connection.idleAt >= 0) {
      const last = this.idle.pop()!
      if (last !== connection) {
        this.idle[connection.idleAt] = last
        last.idleAt = connection.idleAt
      }
      connection.idleAt = -1
    }
    this.all.delete(connection)
    if (this.all.size === 0) this.options.emptied()
  }
}
