/** What commands print. */
import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import { CommandFailed, describe as describeFailure } from "#infra/cli/failure.ts"
import { bytes, duration, plain, table, time } from "#infra/cli/output.ts"
import { valueOf } from "#infra/cli/settings.ts"
import { property } from "../../support/property.ts"

describe("text from outside", () => {
  it("cannot move the cursor, colour or turn the line", () =>
    assert.strictEqual(plain("a\u001b[2Jb\nc\u202ed\u0085"), "a\ufffd[2Jb\ufffdc\ufffdd\ufffd"))
  it("keeps every script", () => assert.strictEqual(plain("Zoë 🙂 株式会社"), "Zoë 🙂 株式会社"))
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
  property("holds no control character", Schema.String, (text) => assert.notMatch(plain(text), /[\u0000-\u001f\u007f-\u009f]/u))
})

describe("a table", () => {
  it("makes columns as wide as their widest cell, and no line ends in blanks", () =>
    assert.strictEqual(
      table(
        ["A", "LONG"],
        [
          ["wide", "x"],
          ["", ""]
        ]
      ),
      "A     LONG\nwide  x\n"
    ))
})

describe("figures", () => {
  it("are shown with units that fit", () => {
    assert.deepStrictEqual([0.34, 12.4, 1234, 61_000].map(duration), ["0.3 ms", "12 ms", "1.2 s", "1 min 1 s"])
    assert.deepStrictEqual([512, 2048, 5 * 1024 ** 3].map(bytes), ["512 B", "2.0 KiB", "5.0 GiB"])
    assert.strictEqual(time(1_795_173_020_410), "2026-11-20 11:10:20Z")
    assert.strictEqual(time(null), "–")
  })
})

describe("a failure", () => {
  const failure = (problem: object) => describeFailure(new CommandFailed({ problem: { title: "No", detail: "Why.", ...problem } }))
  it("says title, status and detail", () => assert.strictEqual(failure({ status: 404 }), "No (404)\n  Why."))
  it("lists each place that is wrong once", () => {
    const findings = [
      { pointer: "/steps/0/kind", message: "Unknown." },
      { pointer: "/trigger", message: "Missing." }
    ]
    const detail = "The flow is not valid. /steps/0/kind: Unknown. /trigger: Missing."
    assert.strictEqual(failure({ detail, findings }), "No\n  The flow is not valid.\n  /steps/0/kind  Unknown.\n  /trigger  Missing.")
  })
})

describe("a setting's value on the command line", () => {
  it("is a number, true, false, or the text itself", () =>
    assert.deepStrictEqual(["9", "true", "block", '"9"'].map(valueOf), [9, true, "block", "9"]))
})
