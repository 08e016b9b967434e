/** What a verified webhook call holds: its elements, and of each the event's name, the delivery's identity and the tenant. */
import { createHash } from "node:crypto"
import * as Result from "effect/Result"
import { asText, readerOf } from "#domain/data-path.ts"
import type { Locator, WebhookManifest } from "#domain/webhook-manifest.ts"
import type { Headers } from "./verification.ts"

/** More events than this in one call are refused. */
export const elementsMax = 1000
const defaultContentMinutes = 10
const eventLengthMax = 128

/** How a repeat of the delivery is recognised. */
export type Dedupe =
  | { readonly by: "vendor-id"; readonly key: string }
  /** SHA-256 of the content, hex; a duplicate only within these minutes. */
  | { readonly by: "content"; readonly key: string; readonly minutes: number }
  /** Never: the manifest switched it off. */
  | { readonly by: "nothing" }

export interface Located {
  /** Place among the call's elements, from 0. */
  readonly index: number
  readonly event: string
  readonly dedupe: Dedupe
  /** The vendor's name of the tenant, where the manifest says where it is. */
  readonly tenant: string | undefined
  /** This element's own body; undefined when the whole call is one event. */
  readonly element: unknown
}

/** The call is genuine, but not what the manifest says: 400. */
export interface LocateFailure {
  readonly reason: "body-malformed" | "elements-missing" | "too-many-elements" | "event-missing" | "tenant-missing"
  readonly message: string
}

export interface Locators {
  /** The body as JSON, also from a form; null for an empty one. */
  readonly parse: (headers: Headers, rawBody: Uint8Array) => Result.Result<unknown, LocateFailure>
  /** `body` is what `parse` gave. */
  readonly locate: (headers: Headers, body: unknown, rawBody: Uint8Array) => Result.Result<ReadonlyArray<Located>, LocateFailure>
}

interface Call {
  readonly headers: Headers
  readonly body: unknown
  readonly element: unknown
}
type Locate = (call: Call) => string | undefined

const locateOf = (locator: Locator): Locate => {
  if ("constant" in locator) return () => locator.constant
  if ("header" in locator) return ({ headers }) => headers[locator.header] || undefined
  const read = readerOf("body" in locator ? locator.body : locator.element)
  return "body" in locator ? ({ body }) => asText(read(body)) || undefined : ({ element }) => asText(read(element)) || undefined
}

const failed = (reason: LocateFailure["reason"], message: string) => Result.fail({ reason, message })

const json = (text: string, what: string): Result.Result<unknown, LocateFailure> => {
  try {
    return Result.succeed(JSON.parse(text))
  } catch {
    return failed("body-malformed", `${what} is not JSON. Send it as application/json in UTF-8.`)
  }
}

const parserOf = ({ formField }: WebhookManifest): Locators["parse"] => {
  return (headers, rawBody) => {
    if (rawBody.length === 0) return Result.succeed(null)
    const text = Buffer.from(rawBody.buffer, rawBody.byteOffset, rawBody.byteLength).toString("utf8")
    const isForm = (headers["content-type"] ?? "").toLowerCase().startsWith("application/x-www-form-urlencoded")
    if (!isForm) return json(text, "The body")
    const fields = new URLSearchParams(text)
    const field = formField === undefined ? null : fields.get(formField)
    return field === null ? Result.succeed(Object.fromEntries(fields)) : json(field, `The form's field ${formField}`)
  }
}

const digest = (content: Uint8Array | string): string => createHash("sha256").update(content).digest("hex")

/** The identity of each element: the vendor's own, else its content's. */
const dedupeOf = (webhook: WebhookManifest) => {
  const { deliveryId, contentHash } = webhook
  const locate = deliveryId === undefined ? undefined : locateOf(deliveryId)
  const shared = deliveryId !== undefined && !("element" in deliveryId)
  const minutes = contentHash === undefined ? defaultContentMinutes : contentHash === false ? 0 : contentHash.minutes
  return (call: Call, index: number, content: () => Uint8Array | string): Dedupe => {
    const id = locate?.(call)
    // An id of the whole call names each of its elements by place.
    if (id !== undefined) return { by: "vendor-id", key: shared && webhook.elements !== undefined ? `${id}#${index}` : id }
    return minutes === 0 ? { by: "nothing" } : { by: "content", key: digest(content()), minutes }
  }
}

export const compileLocators = (webhook: WebhookManifest): Locators => {
  const eventOf = locateOf(webhook.event)
  const tenantOf = webhook.tenant === undefined ? undefined : locateOf(webhook.tenant)
  const identify = dedupeOf(webhook)

  const one = (call: Call, index: number, content: () => Uint8Array | string, element: unknown): Result.Result<Located, LocateFailure> => {
    const event = eventOf(call)
    if (event === undefined || event.length > eventLengthMax) {
      return failed(
        "event-missing",
        `Element ${index} has no event name where the manifest looks for it (${JSON.stringify(webhook.event)}).`
      )
    }
    const tenant = tenantOf?.(call)
    if (tenantOf !== undefined && tenant === undefined) {
      return failed(
        "tenant-missing",
        `Element ${index} names no tenant where the manifest looks for it (${JSON.stringify(webhook.tenant)}).`
      )
    }
    return Result.succeed({ index, event, dedupe: identify(call, index, content), tenant, element })
  }

  const { elements } = webhook
  if (elements === undefined) {
    return {
      parse: parserOf(webhook),
      locate: (headers, body, rawBody) =>
        Result.map(
          one({ headers, body, element: body }, 0, () => rawBody, undefined),
          (located) => [located]
        )
    }
  }
  const readElements = readerOf(elements)
  return {
    parse: parserOf(webhook),
    locate: (headers, body) => {
      const found = readElements(body)
      if (!Array.isArray(found)) return failed("elements-missing", `The body has no array at "${elements}".`)
      if (found.length > elementsMax)
        return failed("too-many-elements", `The call has ${found.length} elements; the most is ${elementsMax}.`)
      return Result.all(found.map((element, index) => one({ headers, body, element }, index, () => JSON.stringify(element), element)))
    }
  }
}
