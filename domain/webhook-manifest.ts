/** The webhook section of a connector manifest: how calls are verified, told apart and answered, as data. */
import * as Schema from "effect/Schema"
import { Condition } from "./condition.ts"
import { DataPath } from "./data-path.ts"

/** An HTTP header's name, in lower case. */
export const HeaderName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/u, { expected: "a header name in lower case" })
)

/** Where a text is found: a header, a path in the whole body, a path in the element (see `elements`), or always the same. */
export type Locator = typeof Locator.Type
export const Locator = Schema.Union([
  Schema.Struct({ header: HeaderName }),
  Schema.Struct({ body: DataPath }),
  Schema.Struct({ element: DataPath }),
  Schema.Struct({ constant: Schema.NonEmptyString })
])

/**
 * A piece of what is signed. `url` is the full public URL; `form` is each field of a form-encoded body sorted by name, name and
 * value without separators (Twilio); `secret` is for plain hashes alone; `id` is the header that `idHeader` names.
 */
export type SignedPart = typeof SignedPart.Type
export const SignedPart = Schema.Union([
  Schema.Literals(["method", "url", "timestamp", "id", "body", "form", "secret"]),
  Schema.Struct({ literal: Schema.String })
])

/** Where the time of signing is found, and how old it may be. It has to be one of the signed parts, or in the signed body. */
export type SignedTimestamp = typeof SignedTimestamp.Type
export const SignedTimestamp = Schema.Struct({
  from: Schema.Union([
    Schema.Struct({ header: HeaderName }),
    /** The element of the signature's list that starts so: `t=` of `t=1,v1=abc`. */
    Schema.Struct({ listPrefix: Schema.NonEmptyString }),
    Schema.Struct({ body: DataPath })
  ]),
  unit: Schema.Literals(["s", "ms", "iso"]),
  /** Older or newer than this is refused. */
  toleranceSeconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 86_400 }))
})

export type SignatureManifest = typeof SignatureManifest.Type
export const SignatureManifest = Schema.Struct({
  algorithm: Schema.Literals(["hmac-sha256", "hmac-sha1", "sha256", "ed25519"]),
  /** In the order in which they are joined. */
  parts: Schema.Array(SignedPart).check(Schema.isMinLength(1), Schema.isMaxLength(16)),
  separator: Schema.optionalKey(Schema.String),
  /** Any of them may carry the signature; one that matches is enough. */
  headers: Schema.Array(HeaderName).check(Schema.isMinLength(1), Schema.isMaxLength(4)),
  /** The header is a list, split here; each element that starts with `prefix` is a signature. */
  listSeparator: Schema.optionalKey(Schema.NonEmptyString),
  /** In front of a signature, such as `sha256=`, `v1=` or `v1,`. */
  prefix: Schema.optionalKey(Schema.NonEmptyString),
  encoding: Schema.Literals(["hex", "base64"]),
  /** How the secret's text becomes key bytes: as it is, or decoded after a prefix such as `whsec_`. */
  secret: Schema.optionalKey(
    Schema.Struct({ encoding: Schema.Literals(["text", "hex", "base64"]), prefix: Schema.optionalKey(Schema.NonEmptyString) })
  ),
  timestamp: Schema.optionalKey(SignedTimestamp),
  idHeader: Schema.optionalKey(HeaderName),
  /**
   * For bodies that are no form while `form` is signed: a query parameter of the signed URL that holds the body's SHA-256 in
   * hex (Twilio's `bodySHA256`).
   */
  bodyHashQuery: Schema.optionalKey(Schema.NonEmptyString)
})

/** A call that only proves who we are: a text of it is sent back, and nothing is recorded as an event. */
export type HandshakeManifest = typeof HandshakeManifest.Type
export const HandshakeManifest = Schema.Struct({
  /** Over `{ headers, body, query }`. */
  when: Condition,
  echo: Schema.Union([
    Schema.Struct({ header: HeaderName }),
    Schema.Struct({ body: DataPath }),
    Schema.Struct({ query: Schema.NonEmptyString })
  ]),
  as: Schema.Union([Schema.Literal("text"), Schema.Struct({ json: Schema.NonEmptyString }), Schema.Struct({ header: HeaderName })]),
  /** False when the vendor does not sign the handshake. */
  signed: Schema.optionalKey(Schema.Boolean)
})

export type WebhookManifest = typeof WebhookManifest.Type
export const WebhookManifest = Schema.Struct({
  signature: SignatureManifest,
  handshake: Schema.optionalKey(HandshakeManifest),
  /** The field of a form-encoded body that holds JSON (Slack's `payload`). */
  formField: Schema.optionalKey(Schema.NonEmptyString),
  /** The path of an array in the body whose elements are events of their own; the empty path: the body is the array. */
  elements: Schema.optionalKey(DataPath),
  /** The vendor's own id of the delivery: a repeat of it is a duplicate. */
  deliveryId: Schema.optionalKey(Locator),
  /** Where a call has no such id: the same content within so many minutes is a duplicate; 10 unless set, `false` for never. */
  contentHash: Schema.optionalKey(
    Schema.Union([Schema.Struct({ minutes: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1440 })) }), Schema.Literal(false)])
  ),
  event: Locator,
  /** The vendor's name of the tenant, where one endpoint serves several. */
  tenant: Schema.optionalKey(Locator),
  /** What the vendor wants to hear; 200 without a body unless set. */
  response: Schema.optionalKey(
    Schema.Struct({
      status: Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 299 })),
      body: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(4096))),
      contentType: Schema.optionalKey(Schema.NonEmptyString)
    })
  )
})
