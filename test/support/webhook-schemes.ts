/** How vendors sign their webhooks: each scheme as a manifest's rule, and beside it a signer written out by hand. */
import { createHash, createHmac, generateKeyPairSync, sign } from "node:crypto"
import type { SignatureManifest } from "#domain/webhook-manifest.ts"

export interface SignedCall {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}
export interface Scheme {
  readonly name: string
  readonly signature: SignatureManifest
  readonly secret: string
  /** Headers whose every bit is covered. */
  readonly covered: ReadonlyArray<string>
  readonly call: (body: Buffer, nowMillis: number, secret: string) => SignedCall
}

const url = "https://tributary.test/hooks/one?a=1"
const post = (headers: Record<string, string>, body: Buffer): SignedCall => ({ method: "POST", url, headers, body })
const seconds = (millis: number) => String(Math.floor(millis / 1000))
const joined = (...parts: ReadonlyArray<string | Buffer>) => Buffer.concat(parts.map((part) => Buffer.from(part)))
const hmac = (algorithm: "sha256" | "sha1", secret: string | Buffer, text: Buffer, encoding: "hex" | "base64") =>
  createHmac(algorithm, secret).update(text).digest(encoding)

/** A signature over the raw body alone, in one header. */
const plain = (
  name: string,
  header: string,
  algorithm: "sha256" | "sha1",
  encoding: "hex" | "base64",
  prefix = "",
  secret = "a-client-secret"
): Scheme => ({
  name,
  signature: {
    algorithm: `hmac-${algorithm}`,
    parts: ["body"],
    headers: [header],
    encoding,
    ...(prefix === "" ? {} : { prefix })
  },
  secret,
  covered: [header],
  call: (body, _now, key) => post({ [header]: prefix + hmac(algorithm, key, body, encoding) }, body)
})

/** `t=…,v1=…` over `t.body`. */
const timestamped = (name: string, header: string, toleranceSeconds: number, secret: string): Scheme => ({
  name,
  signature: {
    algorithm: "hmac-sha256",
    parts: ["timestamp", "body"],
    separator: ".",
    headers: [header],
    listSeparator: ",",
    prefix: "v1=",
    encoding: "hex",
    timestamp: { from: { listPrefix: "t=" }, unit: "s", toleranceSeconds }
  },
  secret,
  covered: [header],
  call: (body, now, key) => post({ [header]: `t=${seconds(now)},v1=${hmac("sha256", key, joined(seconds(now), ".", body), "hex")}` }, body)
})

const slack: Scheme = {
  name: "Slack",
  signature: {
    algorithm: "hmac-sha256",
    parts: [{ literal: "v0" }, "timestamp", "body"],
    separator: ":",
    headers: ["x-slack-signature"],
    prefix: "v0=",
    encoding: "hex",
    timestamp: { from: { header: "x-slack-request-timestamp" }, unit: "s", toleranceSeconds: 300 }
  },
  secret: "8f742231b10e8888abcd99yyyzzz85a5",
  covered: ["x-slack-signature", "x-slack-request-timestamp"],
  call: (body, now, key) =>
    post(
      {
        "x-slack-request-timestamp": seconds(now),
        "x-slack-signature": `v0=${hmac("sha256", key, joined("v0:", seconds(now), ":", body), "hex")}`
      },
      body
    )
}

const hubspot: Scheme = {
  name: "HubSpot v3",
  signature: {
    algorithm: "hmac-sha256",
    parts: ["method", "url", "body", "timestamp"],
    headers: ["x-hubspot-signature-v3"],
    encoding: "base64",
    timestamp: { from: { header: "x-hubspot-request-timestamp" }, unit: "ms", toleranceSeconds: 300 }
  },
  secret: "hubspot-client-secret",
  covered: ["x-hubspot-signature-v3", "x-hubspot-request-timestamp"],
  call: (body, now, key) =>
    post(
      {
        "x-hubspot-request-timestamp": String(now),
        "x-hubspot-signature-v3": hmac("sha256", key, joined("POST", url, body, String(now)), "base64")
      },
      body
    )
}

const hubspotV1: Scheme = {
  name: "HubSpot v1",
  signature: { algorithm: "sha256", parts: ["secret", "body"], headers: ["x-hubspot-signature"], encoding: "hex" },
  secret: "hubspot-client-secret",
  covered: ["x-hubspot-signature"],
  call: (body, _now, key) => post({ "x-hubspot-signature": createHash("sha256").update(joined(key, body)).digest("hex") }, body)
}

export const twilioForm: Scheme = {
  name: "Twilio, a form",
  signature: {
    algorithm: "hmac-sha1",
    parts: ["url", "form"],
    headers: ["x-twilio-signature"],
    encoding: "base64",
    bodyHashQuery: "bodySHA256"
  },
  secret: "12345",
  covered: ["x-twilio-signature"],
  call: (_body, _now, key) => {
    const body = Buffer.from("To=18005551212&CallSid=CA1234567890ABCDE&Digits=1234")
    const headers = { "content-type": "application/x-www-form-urlencoded" }
    const text = joined(url, "CallSidCA1234567890ABCDE", "Digits1234", "To18005551212")
    return post({ ...headers, "x-twilio-signature": hmac("sha1", key, text, "base64") }, body)
  }
}
const twilioJson: Scheme = {
  ...twilioForm,
  name: "Twilio, JSON",
  call: (body, _now, key) => {
    const signedUrl = `${url}&bodySHA256=${createHash("sha256").update(body).digest("hex")}`
    const headers = { "content-type": "application/json", "x-twilio-signature": hmac("sha1", key, joined(signedUrl), "base64") }
    return { method: "POST", url: signedUrl, headers, body }
  }
}

const zendesk = (order: "timestamp first" | "body first"): Scheme => ({
  name: `Zendesk, ${order}`,
  signature: {
    algorithm: "hmac-sha256",
    parts: order === "timestamp first" ? ["timestamp", "body"] : ["body", "timestamp"],
    headers: ["x-zendesk-webhook-signature"],
    encoding: "base64",
    timestamp: { from: { header: "x-zendesk-webhook-signature-timestamp" }, unit: "iso", toleranceSeconds: 300 }
  },
  secret: "zendesk-webhook-secret",
  covered: ["x-zendesk-webhook-signature", "x-zendesk-webhook-signature-timestamp"],
  call: (body, now, key) => {
    const at = new Date(now).toISOString()
    const text = order === "timestamp first" ? joined(at, body) : joined(body, at)
    return post({ "x-zendesk-webhook-signature-timestamp": at, "x-zendesk-webhook-signature": hmac("sha256", key, text, "base64") }, body)
  }
})

const linear: Scheme = {
  ...plain("Linear", "linear-signature", "sha256", "hex"),
  signature: {
    algorithm: "hmac-sha256",
    parts: ["body"],
    headers: ["linear-signature"],
    encoding: "hex",
    timestamp: { from: { body: "webhookTimestamp" }, unit: "ms", toleranceSeconds: 60 }
  },
  call: (_body, now, key) => {
    const body = Buffer.from(JSON.stringify({ action: "create", webhookTimestamp: now, organizationId: "o1" }))
    return post({ "linear-signature": hmac("sha256", key, body, "hex") }, body)
  }
}

const standardHeaders = (id: string, at: string, signature: string) => ({
  "webhook-id": id,
  "webhook-timestamp": at,
  "webhook-signature": signature
})
const standardRule = {
  parts: ["id", "timestamp", "body"],
  separator: ".",
  headers: ["webhook-signature"],
  listSeparator: " ",
  encoding: "base64",
  idHeader: "webhook-id",
  timestamp: { from: { header: "webhook-timestamp" }, unit: "s", toleranceSeconds: 300 }
} as const
export const standardWebhooks: Scheme = {
  name: "Standard Webhooks v1",
  signature: { ...standardRule, algorithm: "hmac-sha256", prefix: "v1,", secret: { encoding: "base64", prefix: "whsec_" } },
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  covered: ["webhook-id", "webhook-timestamp", "webhook-signature"],
  call: (body, now, key) => {
    const bytes = Buffer.from(key.slice("whsec_".length), "base64")
    const text = joined("msg_1.", seconds(now), ".", body)
    return post(standardHeaders("msg_1", seconds(now), `v1,${hmac("sha256", bytes, text, "base64")}`), body)
  }
}
const pair = generateKeyPairSync("ed25519")
const publicBytes = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32)
const standardAsymmetric: Scheme = {
  name: "Standard Webhooks v1a",
  signature: { ...standardRule, algorithm: "ed25519", prefix: "v1a,", secret: { encoding: "base64", prefix: "whpk_" } },
  secret: `whpk_${publicBytes.toString("base64")}`,
  covered: ["webhook-id", "webhook-timestamp", "webhook-signature"],
  call: (body, now) => {
    const text = joined("msg_1.", seconds(now), ".", body)
    return post(standardHeaders("msg_1", seconds(now), `v1a,${sign(null, text, pair.privateKey).toString("base64")}`), body)
  }
}

const pagerDuty: Scheme = {
  name: "PagerDuty",
  signature: {
    algorithm: "hmac-sha256",
    parts: ["body"],
    headers: ["x-pagerduty-signature"],
    listSeparator: ",",
    prefix: "v1=",
    encoding: "hex"
  },
  secret: "pagerduty-secret",
  covered: ["x-pagerduty-signature"],
  call: (body, _now, key) => post({ "x-pagerduty-signature": `v1=${hmac("sha256", key, body, "hex")}` }, body)
}

const box: Scheme = {
  name: "Box",
  signature: {
    algorithm: "hmac-sha256",
    parts: ["body", "timestamp"],
    headers: ["box-signature-primary", "box-signature-secondary"],
    encoding: "base64",
    timestamp: { from: { header: "box-delivery-timestamp" }, unit: "iso", toleranceSeconds: 600 }
  },
  secret: "box-primary-key",
  covered: ["box-signature-primary", "box-delivery-timestamp"],
  call: (body, now, key) => {
    const at = new Date(now).toISOString()
    const elsewhere = hmac("sha256", "box-secondary-key", joined(body, at), "base64")
    return post(
      {
        "box-delivery-timestamp": at,
        "box-signature-primary": hmac("sha256", key, joined(body, at), "base64"),
        "box-signature-secondary": elsewhere
      },
      body
    )
  }
}

export const shopify: Scheme = plain("Shopify", "x-shopify-hmac-sha256", "sha256", "base64")
export const stripe: Scheme = timestamped("Stripe", "stripe-signature", 300, "whsec_used_as_it_is")
export const schemes: ReadonlyArray<Scheme> = [
  shopify,
  stripe,
  plain("GitHub", "x-hub-signature-256", "sha256", "hex", "sha256="),
  slack,
  hubspot,
  hubspotV1,
  plain("Xero", "x-xero-signature", "sha256", "base64"),
  plain("Jira", "x-hub-signature", "sha256", "hex", "sha256="),
  twilioForm,
  twilioJson,
  zendesk("timestamp first"),
  zendesk("body first"),
  linear,
  plain("Intercom", "x-hub-signature", "sha1", "hex", "sha1="),
  standardWebhooks,
  standardAsymmetric,
  timestamped("Calendly", "calendly-webhook-signature", 180, "calendly-key"),
  pagerDuty,
  plain("Notion", "x-notion-signature", "sha256", "hex", "sha256="),
  plain("Asana", "x-hook-signature", "sha256", "hex"),
  box
]
