import { createHmac } from "node:crypto"
import * as Redacted from "effect/Redacted"
import { assert, describe, it } from "vitest"
import type { SignatureManifest } from "#domain/webhook-manifest.ts"
import { compileVerifier, type Secrets, type Verdict, type VerificationFailure } from "#services/verification.ts"
import { type Scheme, type SignedCall, schemes, shopify, standardWebhooks, stripe, twilioForm } from "../support/webhook-schemes.ts"

const now = Date.UTC(2026, 10, 20, 10, 0, 0)
const body = Buffer.from(JSON.stringify({ id: 5_600_000_001, name: "#1001", email: "ana@example.test", total_price: "60.70", note: "¼ Ω" }))
const secrets = (...texts: ReadonlyArray<string>): Secrets => texts.map((text) => Redacted.make(text))
const scheme = (name: string): Scheme => schemes.find((one) => one.name === name)!
const verifying = (signature: SignatureManifest) => compileVerifier({ signature })
const verdict = ({ signature }: Scheme, call: SignedCall, keys: Secrets, at = now): Verdict =>
  verifying(signature)(call.method, call.url, call.headers, call.body, keys, at)
const refusedFor = (reason: VerificationFailure): Verdict => ({ ok: false, reason })

/** Repeatable chance: a failure names the flip that did it. */
const chance = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
const flippedText = (text: string, bit: number): string => {
  const at = Math.floor(bit / 7)
  return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << (bit % 7))) + text.slice(at + 1)
}
const flippedBytes = (bytes: Buffer, bit: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[bit >> 3]! ^= 1 << (bit & 7)
  return copy
}

describe("a verifier", () => {
  for (const one of schemes) {
    it(`accepts what ${one.name} signs`, () =>
      assert.deepStrictEqual(verdict(one, one.call(body, now, one.secret), secrets(one.secret)), { ok: true }))
    it(`accepts nothing else under ${one.name}: other key, no signature, no secret`, () => {
      const call = one.call(body, now, one.secret)
      const other =
        one.signature.algorithm === "ed25519" ? `whpk_${Buffer.alloc(32, 7).toString("base64")}` : `whsec_${"c2VjcmV0".repeat(4)}`
      assert.deepStrictEqual(verdict(one, call, secrets(other)), refusedFor("signature-mismatch"))
      assert.deepStrictEqual(verdict(one, { ...call, headers: {} }, secrets(one.secret)), refusedFor("signature-missing"))
      for (const none of [secrets(), secrets(""), secrets("", "")])
        assert.deepStrictEqual(verdict(one, call, none), refusedFor("secret-missing"))
    })
    it(`accepts none of 2,000 single-bit changes under ${one.name}`, () => {
      const call = one.call(body, now, one.secret)
      const keys = secrets(one.secret)
      const verify = verifying(one.signature)
      const pick = chance(0xa4)
      for (let round = 0; round < 2000; round++) {
        const place = pick(one.covered.length + 1)
        const name = one.covered[place]
        const mutated =
          name === undefined
            ? { ...call, body: flippedBytes(call.body, pick(call.body.length * 8)) }
            : { ...call, headers: { ...call.headers, [name]: flippedText(call.headers[name]!, pick(call.headers[name]!.length * 7)) } }
        const { ok } = verify(mutated.method, mutated.url, mutated.headers, mutated.body, keys, now)
        if (ok) assert.fail(`Round ${round}: ${name ?? "body"} ${name === undefined ? "" : mutated.headers[name]}`)
      }
    })
    if (one.signature.timestamp !== undefined)
      it(`refuses an old or future call under ${one.name}`, () => {
        const { toleranceSeconds } = one.signature.timestamp!
        const call = one.call(body, now, one.secret)
        for (const [late, reason] of [
          [toleranceSeconds * 1000, undefined],
          [toleranceSeconds * 1000 + 1000, "timestamp-stale"],
          [-toleranceSeconds * 1000 - 1000, "timestamp-stale"]
        ] as const)
          assert.deepStrictEqual(
            verdict(one, call, secrets(one.secret), now + late),
            reason === undefined ? { ok: true } : refusedFor(reason)
          )
      })
  }

  it("accepts any of several active secrets", () => {
    const call = shopify.call(body, now, "new-secret")
    assert.isTrue(verdict(shopify, call, secrets("old-secret", "new-secret")).ok)
    assert.isTrue(verdict(shopify, call, secrets("", "new-secret")).ok)
    assert.isFalse(verdict(shopify, call, secrets("old-secret", "")).ok)
  })
  it("accepts any of several listed signatures, but not beyond a bound", () => {
    const call = stripe.call(body, now, stripe.secret)
    const [time, signature] = call.headers["stripe-signature"]!.split(",")
    const listing = (header: string) => ({ ...call, headers: { "stripe-signature": header } })
    assert.isTrue(verdict(stripe, listing(`${time},v0=00,v1=${"0".repeat(64)},${signature}`), secrets(stripe.secret)).ok)
    assert.isFalse(verdict(stripe, listing(`${time},${signature!.replace("v1", "v0")}`), secrets(stripe.secret)).ok)
    assert.isFalse(verdict(stripe, listing(`${time},${"v1=00,".repeat(100)}${signature}`), secrets(stripe.secret)).ok)
  })
  it("does not take one signature for another scheme's, nor another form of the same bytes", () => {
    const call = shopify.call(body, now, shopify.secret)
    const given = call.headers["x-shopify-hmac-sha256"]!
    for (const header of [
      `sha256=${given}`,
      ` ${given}`,
      given.replace(/=$/u, ""),
      Buffer.from(given, "base64").toString("hex"),
      `${given}, ${given}`
    ])
      assert.isFalse(verdict(shopify, { ...call, headers: { "x-shopify-hmac-sha256": header } }, secrets(shopify.secret)).ok, header)
    const upper = scheme("GitHub").call(body, now, "k")
    const headers = { "x-hub-signature-256": upper.headers["x-hub-signature-256"]!.toUpperCase() }
    assert.isFalse(verdict(scheme("GitHub"), { ...upper, headers }, secrets("k")).ok)
  })
  it("refuses an id that could shift the borders of the signed parts", () => {
    const call = standardWebhooks.call(body, now, standardWebhooks.secret)
    const shifted = { ...call.headers, "webhook-id": `${call.headers["webhook-id"]}.1` }
    assert.deepStrictEqual(
      verdict(standardWebhooks, { ...call, headers: shifted }, secrets(standardWebhooks.secret)),
      refusedFor("id-malformed")
    )
    const { "webhook-id": _, ...without } = call.headers
    assert.deepStrictEqual(
      verdict(standardWebhooks, { ...call, headers: without }, secrets(standardWebhooks.secret)),
      refusedFor("id-missing")
    )
  })
  it("says when the time is missing or no time", () => {
    const slack = scheme("Slack")
    const call = slack.call(body, now, slack.secret)
    const { "x-slack-request-timestamp": _, ...without } = call.headers
    assert.deepStrictEqual(verdict(slack, { ...call, headers: without }, secrets(slack.secret)), refusedFor("timestamp-missing"))
    for (const time of ["-1", "1e9", "0x10", "NaN", "1531420618.5", " 1"])
      assert.deepStrictEqual(
        verdict(slack, { ...call, headers: { ...call.headers, "x-slack-request-timestamp": time } }, secrets(slack.secret)),
        refusedFor("timestamp-malformed")
      )
  })
  it("binds a body that is no form by its hash in the signed URL", () => {
    const json = scheme("Twilio, JSON").call(body, now, "12345")
    assert.deepStrictEqual(verdict(twilioForm, { ...json, body: Buffer.from("{}") }, secrets("12345")), refusedFor("body-hash-mismatch"))
    const form = twilioForm.call(body, now, "12345")
    const headers = { ...form.headers, "content-type": "application/json" }
    assert.isFalse(verdict(twilioForm, { ...form, headers }, secrets("12345")).ok)
  })
  it("accepts the vectors that vendors publish", () => {
    const github = scheme("GitHub")
    const hub = { "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" }
    const hello = { method: "POST", url: "", headers: hub, body: Buffer.from("Hello, World!") }
    assert.isTrue(verdict(github, hello, secrets("It's a Secret to Everybody")).ok)
    const message = {
      method: "POST",
      url: "",
      headers: {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
      },
      body: Buffer.from('{"test": 2432232314}')
    }
    assert.isTrue(verdict(standardWebhooks, message, secrets(standardWebhooks.secret), 1_614_265_330_000).ok)
    const command = {
      method: "POST",
      url: "",
      headers: {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
      },
      body: Buffer.from(
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
      )
    }
    assert.isTrue(verdict(scheme("Slack"), command, secrets("8f742231b10e8888abcd99yyyzzz85a5"), 1_531_420_618_000).ok)
  })
  it("verifies the same as the raw signature for bytes that are no text", () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256))
    const headers = { "x-shopify-hmac-sha256": createHmac("sha256", "k").update(bytes).digest("base64") }
    assert.isTrue(verdict(shopify, { method: "POST", url: "", headers, body: bytes }, secrets("k")).ok)
  })
})
