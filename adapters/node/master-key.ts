/** The master key from the environment or from a file of its own, made at first start, outside the data folder. */
import { createHash, randomBytes } from "node:crypto"
import { chmodSync, existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { MasterKey } from "#services/ports/master-key.ts"
import { flushFolder, makeDurableFolder } from "./durable-folder.ts"

const keyBytes = 32
/** Rights of anybody but the owner. */
const othersMask = 0o077

export interface MasterKeyOptions {
  /** The data folder that the key is for: the key's file must not lie in it. */
  readonly dataFolder: string
  /** The key itself, 32 bytes in base64 or hex, when the environment gives it. */
  readonly key?: Redacted.Redacted<string>
  /** The file that holds the key; `defaultKeyFile` of the data folder when left out. */
  readonly file?: string
  /** False: a key that is not there is refused, since others have it already. */
  readonly mayMake?: boolean
}

/** The master key cannot be used as given. Nothing was changed. */
export class MasterKeyRefused extends Data.TaggedError("MasterKeyRefused")<{ readonly where: string; readonly reason: string }> {
  override get message() {
    return `The master key (${this.where}) ${this.reason}`
  }
}

/** `~/.tributary/<hash of the data folder's path>.key`: each data folder has a key of its own. */
export const defaultKeyFile = (dataFolder: string): string =>
  join(homedir(), ".tributary", `${createHash("sha256").update(resolve(dataFolder)).digest("hex").slice(0, 16)}.key`)

/** Stored with each wrapped key: tells which master key wrapped it, and nothing of the key. */
export const masterKeyId = (key: Uint8Array): string => createHash("sha256").update(key).digest("hex").slice(0, 16)

export const layer = (options: MasterKeyOptions) =>
  Layer.effect(
    MasterKey,
    Effect.try({
      try: () => {
        const { key, where } = options.key === undefined ? fromFile(options) : fromText(Redacted.value(options.key))
        return MasterKey.of({ id: masterKeyId(key), key: Redacted.make<Uint8Array>(key), where })
      },
      catch: (cause) =>
        cause instanceof MasterKeyRefused
          ? cause
          : new MasterKeyRefused({
              where: options.file ?? defaultKeyFile(options.dataFolder),
              reason: `cannot be read or made: ${cause instanceof Error ? cause.message : String(cause)}. Nothing was changed.`
            })
    })
  )

interface FoundKey {
  readonly key: Uint8Array
  readonly where: string
}

const fromText = (text: string): FoundKey => {
  const where = "TRIBUTARY_MASTER_KEY"
  return { key: decode(text, where), where }
}

const fromFile = (options: MasterKeyOptions): FoundKey => {
  const file = resolve(options.file ?? defaultKeyFile(options.dataFolder))
  if (isInside(file, options.dataFolder))
    throw new MasterKeyRefused({
      where: file,
      reason: "lies in the data folder that it protects: a copy of the folder would hold both. Nothing was changed. Move it elsewhere."
    })
  if (existsSync(file)) return readKey(file)
  if (options.mayMake === false)
    throw new MasterKeyRefused({
      where: file,
      reason:
        "is not there. Nothing was started. Put the installation's key there: the distributed form makes none, since all processes share one."
    })
  return makeKey(file, options.dataFolder)
}

const readKey = (file: string): FoundKey => {
  const mode = statSync(file).mode & 0o777
  if ((mode & othersMask) !== 0)
    throw new MasterKeyRefused({
      where: file,
      reason: `can be read by others (mode ${mode.toString(8).padStart(4, "0")}). Nothing was changed. Run: chmod 600 ${file}`
    })
  return { key: decode(readFileSync(file, "utf8"), file), where: file }
}

const makeKey = (file: string, dataFolder: string): FoundKey => {
  if (existsSync(join(dataFolder, "vault.db")))
    throw new MasterKeyRefused({
      where: file,
      reason: `is not there, but ${dataFolder} holds keys that were wrapped by it. Nothing was changed. Put the key's file back, or name it with TRIBUTARY_MASTER_KEY_FILE.`
    })
  const folder = dirname(file)
  makeDurableFolder(folder)
  const key = randomBytes(keyBytes)
  // "wx": of two processes that start at once, one makes the key and the other fails.
  writeFileSync(file, `${key.toString("base64")}\n`, { mode: 0o600, flag: "wx", flush: true })
  chmodSync(file, 0o600)
  flushFolder(folder)
  return { key, where: file }
}

const decode = (text: string, where: string): Uint8Array => {
  const trimmed = text.trim()
  const key = /^[0-9a-f]{64}$/iu.test(trimmed)
    ? Buffer.from(trimmed, "hex")
    : /^[A-Za-z0-9+/_-]+={0,2}$/u.test(trimmed)
      ? Buffer.from(trimmed, "base64")
      : Buffer.alloc(0)
  if (key.length !== keyBytes)
    throw new MasterKeyRefused({
      where,
      reason: `is not ${keyBytes} bytes in base64 or hex. Nothing was changed. Make one with: openssl rand -base64 ${keyBytes}`
    })
  return new Uint8Array(key) // A copy of its own: small buffers share their memory with others.
}

const isInside = (file: string, folder: string): boolean => {
  const real = (path: string): string =>
    existsSync(path) ? realpathSync(path) : join(real(dirname(path)), path.slice(dirname(path).length))
  const path = relative(real(resolve(folder)), real(file))
  return path !== "" && !path.startsWith("..") && !path.startsWith("/")
}
