/** What is sealed of a delivery: one line of JSON about it, then the event's body as JSON text. */

/** What an expression sees as `trigger`, except the body. */
export interface DeliveryHead {
  /** The vendor's name of the event. */
  readonly event: string
  readonly deliveryId: string
  /** ISO 8601, UTC. */
  readonly receivedAt: string
  /** Lower-case names; without credentials and signatures. */
  readonly headers: Readonly<Record<string, string>>
}
export interface TriggerData extends DeliveryHead {
  readonly body: unknown
}

const newline = 0x0a

export const encodeDeliveryContent = (head: DeliveryHead, body: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body])

/** The head and the body's bytes. */
export const decodeDeliveryContent = (bytes: Uint8Array): { readonly head: DeliveryHead; readonly body: Uint8Array } => {
  const end = bytes.indexOf(newline)
  return { head: JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as DeliveryHead, body: bytes.subarray(end + 1) }
}

export const triggerOf = (bytes: Uint8Array): TriggerData => {
  const { head, body } = decodeDeliveryContent(bytes)
  return { ...head, body: JSON.parse(Buffer.from(body).toString()) }
}

/** Headers that say nothing about the event, or that are credentials: not kept. */
const dropped = new Set([
  "accept",
  "accept-encoding",
  "authorization",
  "connection",
  "content-length",
  "cookie",
  "host",
  "keep-alive",
  "proxy-authorization",
  "te",
  "transfer-encoding",
  "upgrade",
  "x-api-key",
  "x-fastn-api-key"
])

/** The headers worth keeping. `signatures` are the names that the manifest reads signatures from: they prove nothing later. */
export const keptHeaders = (
  headers: Readonly<Record<string, string | undefined>>,
  signatures: ReadonlyArray<string>
): Record<string, string> => {
  const kept: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && !dropped.has(name) && !signatures.includes(name)) kept[name] = value
  }
  return kept
}
