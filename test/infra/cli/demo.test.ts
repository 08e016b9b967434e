/** The demo itself, with few orders: it ends well, and leaves neither a process nor a folder behind. */
import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "vitest"

const main = new URL("../../../infra/main.ts", import.meta.url).pathname

describe("the demo", () => {
  it("loses nothing, does nothing twice, and tidies up", async () => {
    const temporary = mkdtempSync(join(tmpdir(), "tributary-demo-test-"))
    const { code, out, error } = await new Promise<{ code: number; out: string; error: string }>((done) => {
      const child = execFile(
        process.execPath,
        [main, "demo", "--orders", "20", "--json"],
        { env: { ...process.env, TMPDIR: temporary }, maxBuffer: 16 * 1024 * 1024 },
        (_, out, error) => done({ code: child.exitCode ?? -1, out, error })
      )
    })
    assert.strictEqual(code, 0, error + out)
    const { ok, proofs, crash, ledger } = JSON.parse(out)
    assert.isTrue(ok, JSON.stringify(proofs))
    assert.isAbove(crash.interrupted.length, 0)
    assert.strictEqual(ledger.booked, 20)
    assert.deepStrictEqual(
      readdirSync(temporary).filter((name) => name.startsWith("tributary-demo-")),
      []
    )
    rmSync(temporary, { recursive: true })
  })
})
