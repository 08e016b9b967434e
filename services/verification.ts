/** Webhook verification: compiled from a manifest once, then run on the raw bytes of every call. */
import {
  createHash,
  createHmac,
  createPublicKey,
  createSecretKey,
  type Hash,
  type Hmac,
  type KeyObject,
  timingSafeEqual,
  verify as verifySignature
} from "node:crypto"
import * as Redacted from "effect/Redacted"
import { readerOf } from "#domain/data-path.ts"
import type { SignatureManifest, SignedTimestamp, WebhookManifest } from "#domain/webhook-manifest.ts"

/** Lower-case names; repeated headers joined with ", ". */
export type Headers = Readonly<Record<string, string | undefined>>

export type VerificationFailure =
  | "secret-missing"
  | "signature-missing"
  | "signature-mismatch"
  | "timestamp-missing"
  | "timestamp-malformed"
  | "timestamp-stale"
  | "id-missing"
  | "id-malformed"
  | "body-hash-mismatch"

export type Verdict = { readonly ok: true } | { readonly ok: false; readonly reason: VerificationFailure }

/** Keep the same array for the same secrets: their keys are prepared once per array. An empty secret never verifies. */
export type Secrets = ReadonlyArray<Redacted.Redacted<string>>

export type Verifier = (
  method: string,
  /** The full public URL as the vendor called it. */
  url: string,
  headers: Headers,
  rawBody: Uint8Array,
  secrets: Secrets,
  nowMillis: number
) => Verdict

const accepted: Verdict = { ok: true }
const refused = (reason: VerificationFailure): Verdict => ({ ok: false, reason })

/** What went wrong, for the vendor's log and for `events explain`. */
export const verificationAdvice: Readonly<Record<VerificationFailure, string>> = {
  "secret-missing": "The endpoint has no usable signing secret. Set one.",
  "signature-missing": "The call carries no signature header. Check that the sender signs its calls to this endpoint.",
  "signature-mismatch":
    "The signature does not fit the body and the endpoint's secrets. Check the secret on both sides; send the body unchanged.",
  "timestamp-missing": "The call carries no signed timestamp.",
  "timestamp-malformed": "The signed timestamp cannot be read.",
  "timestamp-stale": "The signed timestamp is too far from now. Check the sender's clock; an old call has to be sent anew.",
  "id-missing": "The call carries no signed id.",
  "id-malformed": "The signed id contains the separator of the signed text.",
  "body-hash-mismatch": "The body does not fit its hash in the signed URL."
}

/** More signatures than this in one header are not looked at. */
const signaturesMax = 16

interface Key {
  readonly bytes: Uint8Array
  /** A key object: starting an HMAC from bytes costs four times as much. */
  readonly object: KeyObject
}
type Keys = ReadonlyArray<Key>

const secretBytes = (secret: string, rule: SignatureManifest["secret"]): Uint8Array => {
  const prefix = rule?.prefix ?? ""
  const text = prefix !== "" && secret.startsWith(prefix) ? secret.slice(prefix.length) : secret
  return rule === undefined || rule.encoding === "text" ? Buffer.from(text) : Buffer.from(text, rule.encoding)
}

/** Wraps a raw ed25519 public key into the structure that Node reads (RFC 8410). */
const ed25519Key = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]), format: "der", type: "spki" })

const keysOf = (secrets: Secrets, signature: SignatureManifest): Keys =>
  secrets.flatMap((secret): Keys => {
    const bytes = secretBytes(Redacted.value(secret), signature.secret)
    if (bytes.length === 0) return []
    if (signature.algorithm !== "ed25519") return [{ bytes, object: createSecretKey(bytes) }]
    return bytes.length === 32 ? [{ bytes, object: ed25519Key(bytes) }] : []
  })

/** Compares text in constant time; the encoded form, so that no two texts mean the same signature. */
const sameText = (given: string, expected: string): boolean => {
  const left = Buffer.from(given)
  const right = Buffer.from(expected)
  return left.length === right.length && timingSafeEqual(left, right)
}

type Matches = (key: Key, signed: (sink: Sink) => void, candidates: ReadonlyArray<string>) => boolean
type Sink = (part: string | Uint8Array) => void

const matchesHash =
  (encoding: "hex" | "base64", start: (key: Key) => Hash | Hmac): Matches =>
  (key, signed, candidates) => {
    const hash = start(key)
    signed((part) => hash.update(part))
    const expected = hash.digest(encoding)
    return candidates.some((given) => sameText(given, expected))
  }

const matchesEd25519 =
  (encoding: "hex" | "base64"): Matches =>
  (key, signed, candidates) => {
    const parts: Array<Uint8Array> = []
    signed((part) => parts.push(typeof part === "string" ? Buffer.from(part) : part))
    const text = Buffer.concat(parts)
    return candidates.some((given) => {
      const bytes = Buffer.from(given, encoding)
      return bytes.length === 64 && bytes.toString(encoding) === given && verifySignature(null, text, key.object, bytes)
    })
  }

const matcherOf = ({ algorithm, encoding }: SignatureManifest): Matches => {
  switch (algorithm) {
    case "hmac-sha256":
      return matchesHash(encoding, (key) => createHmac("sha256", key.object))
    case "hmac-sha1":
      return matchesHash(encoding, (key) => createHmac("sha1", key.object))
    case "sha256":
      return matchesHash(encoding, () => createHash("sha256"))
    case "ed25519":
      return matchesEd25519(encoding)
  }
}

/** Everything that the signed text may be made of. */
interface Signed {
  readonly method: string
  readonly url: string
  readonly timestamp: string
  readonly id: string
  readonly headers: Headers
  readonly rawBody: Uint8Array
}

const isForm = (headers: Headers): boolean => (headers["content-type"] ?? "").toLowerCase().startsWith("application/x-www-form-urlencoded")

const sortedForm = ({ headers, rawBody }: Signed): string => {
  if (!isForm(headers)) return ""
  const fields = [...new URLSearchParams(Buffer.from(rawBody).toString("utf8"))]
  return fields
    .sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))
    .map(([name, value]) => name + value)
    .join("")
}

type Part = (signed: Signed, key: Key) => string | Uint8Array

const partOf = (part: SignatureManifest["parts"][number]): Part => {
  if (typeof part === "object") return () => part.literal
  switch (part) {
    case "method":
      return ({ method }) => method
    case "url":
      return ({ url }) => url
    case "timestamp":
      return ({ timestamp }) => timestamp
    case "id":
      return ({ id }) => id
    case "body":
      return ({ rawBody }) => rawBody
    case "form":
      return sortedForm
    case "secret":
      return (_signed, key) => key.bytes
  }
}

const isoPattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/u

/** Epoch milliseconds; NaN when it is no time of this unit. */
const millisOf = (text: string, unit: SignedTimestamp["unit"]): number => {
  if (unit === "iso") return isoPattern.test(text) ? Date.parse(text) : Number.NaN
  return /^\d{1,14}$/u.test(text) ? Number(text) * (unit === "s" ? 1000 : 1) : Number.NaN
}

const checkTime = (text: string | undefined, rule: SignedTimestamp, nowMillis: number): VerificationFailure | undefined => {
  if (text === undefined || text === "") return "timestamp-missing"
  const at = millisOf(text, rule.unit)
  if (Number.isNaN(at)) return "timestamp-malformed"
  return Math.abs(nowMillis - at) > rule.toleranceSeconds * 1000 ? "timestamp-stale" : undefined
}

const timeInBody = (rawBody: Uint8Array, read: (body: unknown) => unknown): string | undefined => {
  try {
    const found = read(JSON.parse(Buffer.from(rawBody).toString("utf8")))
    return found === undefined ? undefined : String(found)
  } catch {
    return undefined
  }
}

/** The elements of the signature header: one, or a bounded list. */
const elementsOf = (header: string, separator: string | undefined): ReadonlyArray<string> =>
  separator === undefined ? [header] : header.split(separator, signaturesMax).map((element) => element.trim())

const bodyHashHolds = (url: string, parameter: string, rawBody: Uint8Array): boolean => {
  const given = URL.canParse(url) ? new URL(url).searchParams.get(parameter) : null
  return given !== null && sameText(given, createHash("sha256").update(rawBody).digest("hex"))
}

/** Compiles the rule of a manifest. The verifier never throws, and compares in constant time. */
export const compileVerifier = ({ signature }: Pick<WebhookManifest, "signature">): Verifier => {
  const { timestamp, idHeader, listSeparator, prefix = "", separator = "", bodyHashQuery } = signature
  const matches = matcherOf(signature)
  const parts = signature.parts.map(partOf)
  const from = timestamp?.from
  const readBodyTime = from !== undefined && "body" in from ? readerOf(from.body) : undefined
  const prepared = new WeakMap<Secrets, Keys>()
  const keysFor = (secrets: Secrets): Keys => {
    let keys = prepared.get(secrets)
    if (keys === undefined) {
      keys = keysOf(secrets, signature)
      prepared.set(secrets, keys)
    }
    return keys
  }
  const timeOf = (headers: Headers, elements: ReadonlyArray<string>): string | undefined => {
    if (from === undefined || "body" in from) return undefined
    if ("header" in from) return headers[from.header]
    return elements.find((element) => element.startsWith(from.listPrefix))?.slice(from.listPrefix.length)
  }
  const ambiguous = (text: string) => separator !== "" && parts.length > 1 && text.includes(separator)

  return (method, url, headers, rawBody, secrets, nowMillis) => {
    const keys = keysFor(secrets)
    if (keys.length === 0) return refused("secret-missing")
    const elements: Array<string> = []
    for (const name of signature.headers) {
      const header = headers[name]
      if (header !== undefined && header !== "") elements.push(...elementsOf(header, listSeparator))
    }
    const candidates: Array<string> = []
    for (const element of elements) if (element.startsWith(prefix)) candidates.push(element.slice(prefix.length))
    if (candidates.length === 0) return refused("signature-missing")
    const time = timeOf(headers, elements)
    if (timestamp !== undefined && readBodyTime === undefined) {
      const wrong = checkTime(time, timestamp, nowMillis)
      if (wrong !== undefined) return refused(wrong)
      if (ambiguous(time!)) return refused("timestamp-malformed")
    }
    const id = idHeader === undefined ? "" : (headers[idHeader] ?? "")
    if (idHeader !== undefined && id === "") return refused("id-missing")
    if (ambiguous(id)) return refused("id-malformed")

    const signed: Signed = { method, url, timestamp: time ?? "", id, headers, rawBody }
    const matched = keys.some((key) =>
      matches(
        key,
        (sink) => {
          for (let index = 0; index < parts.length; index++) {
            if (index > 0 && separator !== "") sink(separator)
            sink(parts[index]!(signed, key))
          }
        },
        candidates
      )
    )
    if (!matched) return refused("signature-mismatch")
    if (bodyHashQuery !== undefined && rawBody.length > 0 && !isForm(headers) && !bodyHashHolds(url, bodyHashQuery, rawBody)) {
      return refused("body-hash-mismatch")
    }
    if (timestamp !== undefined && readBodyTime !== undefined) {
      const wrong = checkTime(timeInBody(rawBody, readBodyTime), timestamp, nowMillis)
      if (wrong !== undefined) return refused(wrong)
    }
    return accepted
  }
}
