/** The master key from a file or the environment: the contract, and what is refused. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { afterAll, assert, describe, it } from "vitest"
import { defaultKeyFile, layer, type MasterKeyOptions, MasterKeyRefused } from "#adapters/node/master-key.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { masterKeyContract } from "./master-key.contract.ts"

const root = mkdtempSync(join(tmpdir(), "tributary-key-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let counter = 0
const place = () => {
  const folder = join(root, String(++counter))
  const dataFolder = join(folder, "data")
  mkdirSync(dataFolder, { recursive: true })
  return { dataFolder, file: join(folder, "keys", "master.key") }
}
const start = (options: MasterKeyOptions) => Effect.runPromise(Effect.provide(MasterKey, layer(options)))
const refusal = (options: MasterKeyOptions) =>
  start(options).then(
    () => assert.fail("It was taken."),
    (cause: unknown) => {
      assert.instanceOf(cause, MasterKeyRefused)
      return cause as MasterKeyRefused
    }
  )
const base64 = Buffer.alloc(32, 5).toString("base64")

const filed = place()
masterKeyContract("a file", () => layer(filed))
masterKeyContract("the environment", () => layer({ ...place(), key: Redacted.make(base64) }))

describe("the master key", () => {
  it("is not made where others have it already", async () => {
    const at = place()
    const { message } = await refusal({ ...at, mayMake: false })
    assert.include(message, at.file)
    assert.include(message, "Nothing was started")
    assert.isFalse(existsSync(at.file))
  })
  it("is made at first start, in a file that only its owner can read", async () => {
    const at = place()
    const { where } = await start(at)
    assert.strictEqual(where, at.file)
    assert.strictEqual(statSync(at.file).mode & 0o777, 0o600)
    assert.strictEqual(statSync(join(at.file, "..")).mode & 0o777, 0o700)
    assert.match(readFileSync(at.file, "utf8"), /^[A-Za-z0-9+/]{43}=\n$/u)
  })

  it("lies in the owner's home by default, one for each data folder", () => {
    const [one, two] = [defaultKeyFile("/srv/one"), defaultKeyFile("/srv/two")]
    assert.isTrue(one.startsWith(join(homedir(), ".tributary")))
    assert.notStrictEqual(one, two)
    assert.strictEqual(defaultKeyFile("/srv/x/../one"), one)
  })

  it("is taken in base64 or hex, and given precedence over the file", async () => {
    const at = place()
    const one = await start({ ...at, key: Redacted.make(base64) })
    const two = await start({ ...at, key: Redacted.make(`${Buffer.alloc(32, 5).toString("hex")}\n`) })
    assert.strictEqual(one.id, two.id)
    assert.isFalse(existsSync(at.file))
  })

  it("is refused when others can read its file", async () => {
    const at = place()
    await start(at)
    for (const mode of [0o640, 0o604, 0o660]) {
      chmodSync(at.file, mode)
      const { message } = await refusal(at)
      assert.include(message, `mode 0${mode.toString(8)}`)
      assert.include(message, `chmod 600 ${at.file}`)
    }
    chmodSync(at.file, 0o400)
    await start(at)
  })

  it("is refused when it is not 32 bytes", async () => {
    for (const text of ["", "rubbish!", Buffer.alloc(31).toString("base64"), Buffer.alloc(33).toString("base64"), "ab".repeat(31)]) {
      const at = place()
      await start(at)
      writeFileSync(at.file, text)
      assert.include((await refusal(at)).message, "32 bytes")
      const { message } = await refusal({ ...at, key: Redacted.make(text) })
      assert.include(message, "TRIBUTARY_MASTER_KEY")
      if (text !== "") assert.notInclude(message, text)
    }
  })

  it("is not made anew for a data folder that has keys already", async () => {
    const at = place()
    writeFileSync(join(at.dataFolder, "vault.db"), "")
    const { message } = await refusal(at)
    assert.include(message, "is not there")
    assert.isFalse(existsSync(at.file))
  })

  it("is refused in the data folder that it protects, also by way of a link", async () => {
    const at = place()
    assert.include((await refusal({ ...at, file: join(at.dataFolder, "master.key") })).message, "lies in the data folder")
    const link = join(at.dataFolder, "..", "link")
    symlinkSync(at.dataFolder, link)
    assert.include((await refusal({ ...at, file: join(link, "deep", "master.key") })).message, "lies in the data folder")
  })

  it("says what is wrong when the file cannot be made", async () => {
    const at = place()
    writeFileSync(join(at.dataFolder, "..", "keys"), "a file where the folder should be")
    assert.include((await refusal(at)).message, at.file)
  })
})
