/** MongoDB's wire protocol as far as its Node driver speaks it: OP_MSG, and OP_QUERY for the first greeting. */
import { type Document, deserialize, serialize } from "bson"

const opReply = 1
const opQuery = 2004
const opMsg = 2013
const headerBytes = 16
/** Nothing is answered to a message with it. */
const moreToCome = 2

export interface Request {
  readonly id: number
  readonly command: Document
  readonly legacy: boolean
  readonly wantsAnswer: boolean
}

const bsonAt = (buffer: Buffer, at: number): { readonly document: Document; readonly end: number } => {
  const end = at + buffer.readInt32LE(at)
  return { document: deserialize(buffer.subarray(at, end)), end }
}

/** Body and document sequences are one command again. */
const readMessage = (message: Buffer): Request => {
  const flags = message.readUInt32LE(headerBytes)
  let command: Document = {}
  const sequences: Record<string, Array<Document>> = {}
  let at = headerBytes + 4
  while (at < message.length) {
    const kind = message[at]
    if (kind === 0) {
      const { document, end } = bsonAt(message, at + 1)
      command = document
      at = end
    } else {
      const end = at + 1 + message.readInt32LE(at + 1)
      const nameEnd = message.indexOf(0, at + 5)
      const documents: Array<Document> = []
      for (let next = nameEnd + 1; next < end; ) {
        const read = bsonAt(message, next)
        documents.push(read.document)
        next = read.end
      }
      sequences[message.toString("utf8", at + 5, nameEnd)] = documents
      at = end
    }
  }
  return { id: message.readInt32LE(4), command: { ...command, ...sequences }, legacy: false, wantsAnswer: (flags & moreToCome) === 0 }
}

const readQuery = (message: Buffer): Request => {
  const nameEnd = message.indexOf(0, headerBytes + 4)
  const { document } = bsonAt(message, nameEnd + 1 + 8)
  return { id: message.readInt32LE(4), command: { ...document, $db: "admin" }, legacy: true, wantsAnswer: true }
}

/** Cuts a stream of bytes into requests. */
export class RequestReader {
  #rest: Buffer = Buffer.alloc(0)

  take(chunk: Buffer): Array<Request> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const requests: Array<Request> = []
    while (this.#rest.length >= 4 && this.#rest.length >= this.#rest.readInt32LE(0)) {
      const bytes = this.#rest.readInt32LE(0)
      const message = this.#rest.subarray(0, bytes)
      const code = message.readInt32LE(12)
      if (code !== opMsg && code !== opQuery) throw new Error(`The operation ${code} is not known here.`)
      requests.push(code === opMsg ? readMessage(message) : readQuery(message))
      this.#rest = this.#rest.subarray(bytes)
    }
    return requests
  }
}

export const answerBytes = (request: Request, answer: Document): Buffer => {
  const body = serialize(answer, { ignoreUndefined: true })
  const before = request.legacy ? 20 : 5
  const head = Buffer.alloc(headerBytes + before)
  head.writeInt32LE(head.length + body.length, 0)
  head.writeInt32LE(request.id, 8)
  head.writeInt32LE(request.legacy ? opReply : opMsg, 12)
  if (request.legacy) {
    head.writeInt32LE(8, headerBytes) // Awaiting data is known here.
    head.writeInt32LE(1, headerBytes + 16)
  }
  return Buffer.concat([head, body])
}
