/**
 * One process's way to NATS, laid through the test: everything passes, except the messages of one subject while it is cut. What the
 * process says on that subject is heard here all the same.
 */
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"

export interface NatsLink {
  readonly url: string
  /** From now on neither does anybody hear the process on this subject, nor the process anybody. */
  readonly cut: () => void
  readonly heal: () => void
  /** Messages that were withheld, in both directions. */
  readonly withheld: () => number
  readonly close: () => Promise<void>
}

export interface NatsLinkOptions {
  /** The port of the server. */
  readonly port: number
  /** Whether a subject is the one that can be cut. */
  readonly isCuttable: (subject: string) => boolean
  /** Called with each message of such a subject that the process sends, withheld or not. */
  readonly onSaid: (payload: Buffer) => void
}

const lineEnd = "\r\n"
/** The verbs that a payload follows; its length ends the line. Source: NATS's client protocol. */
const carriers = new Set(["PUB", "HPUB", "MSG", "HMSG"])

/** What is on the wire, cut where the protocol cuts it. */
class Frames {
  private rest: Buffer = Buffer.alloc(0)

  /** Calls `each` with every complete frame; `subject` is undefined of one that carries no message. */
  push(chunk: Buffer, each: (frame: Buffer, subject: string | undefined, payload: Buffer) => void): void {
    const wire = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    let at = 0
    for (;;) {
      const lineAt = wire.indexOf(lineEnd, at)
      if (lineAt < 0) break
      const [verb = "", subject, ...more] = wire.toString("latin1", at, lineAt).split(" ")
      const payloadAt = lineAt + lineEnd.length
      const carries = carriers.has(verb)
      const payloadEnd = carries ? payloadAt + Number(more.at(-1)) : payloadAt
      const end = carries ? payloadEnd + lineEnd.length : payloadAt
      if (end > wire.length) break
      each(wire.subarray(at, end), carries ? subject : undefined, wire.subarray(payloadAt, payloadEnd))
      at = end
    }
    this.rest = wire.subarray(at)
  }
}

export const startNatsLink = async ({ port, isCuttable, onSaid }: NatsLinkOptions): Promise<NatsLink> => {
  let isCut = false
  let withheld = 0
  const sockets = new Set<Socket>()
  /** Gives back whether the frame goes on. */
  const passes = (subject: string | undefined): boolean => {
    if (!isCut || subject === undefined || !isCuttable(subject)) return true
    withheld++
    return false
  }
  const lay = (from: Socket, to: Socket, hear: (payload: Buffer) => void) => {
    const frames = new Frames()
    sockets.add(from)
    from.on("data", (chunk) => {
      frames.push(chunk, (frame, subject, payload) => {
        if (subject !== undefined && isCuttable(subject)) hear(payload)
        if (passes(subject)) to.write(frame)
      })
    })
    from.on("error", () => to.destroy())
    from.on("close", () => {
      sockets.delete(from)
      to.destroy()
    })
  }
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1")
    lay(client, upstream, onSaid)
    lay(upstream, client, () => {})
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port: own } = server.address() as { readonly port: number }
  return {
    url: `nats://127.0.0.1:${own}`,
    cut: () => {
      isCut = true
    },
    heal: () => {
      isCut = false
    },
    withheld: () => withheld,
    close: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, "close")
    }
  }
}
