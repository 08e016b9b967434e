/** Log lines: one JSON object each, and no secret in them. */
import * as Cause from "effect/Cause"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { formatEntry } from "#infra/logging.ts"
import { property } from "../support/property.ts"

const at = new Date("2026-11-20T10:00:00Z")
const line = (message: unknown, annotations: Record<string, unknown> = {}) => formatEntry({ level: "Info", at, message, annotations })
const key = `trib_s${"a".repeat(19)}_${"b".repeat(12)}_${"c".repeat(32)}`

describe("a log line", () => {
  it("names time, level and message first", () =>
    assert.strictEqual(line("Started.", { port: 80 }), `{"time":"2026-11-20T10:00:00.000Z","level":"info","message":"Started.","port":80}`))
  it("shows an API key without its secret, wherever it stands", () => {
    const text = line(`refused ${key}`, { note: { deep: [`x ${key} y`] } })
    assert.notInclude(text, "c".repeat(32))
    assert.include(text, "b".repeat(12))
  })
  it("hides values under names of secrets", () => {
    const text = line("call", {
      headers: { Authorization: "Bearer abc", "x-api-key": "k1", cookie: "c1", "x-shopify-hmac-signature": "s1" }
    })
    for (const secret of ["abc", "k1", "c1", "s1"]) assert.notInclude(text, secret)
  })
  it("hides redacted values, bearer tokens and webhook secrets", () => {
    const text = line("x", { one: Redacted.make("sesame"), two: "Bearer tok.tok", three: "whsec_MfKQ9r8GKYqrTwjU" })
    for (const secret of ["sesame", "tok.tok", "MfKQ9r8"]) assert.notInclude(text, secret)
  })
  it("cannot be made to say another level or time", () => {
    const parsed = JSON.parse(line("x", { level: "fatal", time: "1999" }))
    assert.strictEqual(parsed.level, "info")
    assert.strictEqual(parsed["field.level"], "fatal")
  })
  it("keeps the cause of a failure, without its secrets", () => {
    const text = formatEntry({ level: "Error", at, message: "failed", cause: Cause.die(new Error(`no ${key}`)) })
    assert.include(JSON.parse(text).cause, "Error: no trib_")
    assert.notInclude(text, "c".repeat(32))
  })
  it("survives what refers to itself and what is bottomless", () => {
    const loop: Record<string, unknown> = {}
    loop["loop"] = loop
    assert.include(line("x", loop), "<deeper>")
  })
  property("is one line of printable JSON for any text", Schema.Struct({ text: Schema.String, name: Schema.String }), ({ text, name }) => {
    const nasty = `${text}\r\n\u2028\u0085\u001b[2J{"level":"fatal"}`
    const written = line(nasty, { [name]: nasty })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
    assert.notMatch(written, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
    assert.strictEqual(JSON.parse(written).level, "info")
  })
})
