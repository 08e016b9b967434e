/** Signing in by SCRAM-SHA-256 (RFC 7677), the server's side. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto"
import { Binary, type Document } from "bson"
import { CommandFailed } from "./failures.ts"

const iterations = 4096
const hmac = (key: Uint8Array, text: string) => createHmac("sha256", key).update(text).digest()
const refused = () => new CommandFailed(18, "Authentication failed.")

const payloadOf = (command: Document): string => Buffer.from(command["payload"].buffer).toString("utf8")
const fieldsOf = (text: string): Record<string, string> => Object.fromEntries(text.split(",").map((part) => [part[0]!, part.slice(2)]))
const answer = (text: string, done: boolean) => ({ conversationId: 1, done, payload: new Binary(Buffer.from(text)), ok: 1 })

/** One connection's conversation. */
export class Conversation {
  readonly #user: string
  readonly #salted: Buffer
  readonly #salt = randomBytes(28)
  #first = ""
  #nonce = ""
  isSignedIn = false

  constructor(user: string, password: string) {
    this.#user = user
    this.#salted = pbkdf2Sync(password, this.#salt, iterations, 32, "sha256")
  }

  start(command: Document): Document {
    if (command["mechanism"] !== "SCRAM-SHA-256") throw new CommandFailed(2, `mechanism ${command["mechanism"]} is not known here`)
    const bare = payloadOf(command).slice(3)
    const { n, r } = fieldsOf(bare)
    if (n !== this.#user) throw refused()
    this.#nonce = `${r}${randomBytes(18).toString("base64")}`
    const text = `r=${this.#nonce},s=${this.#salt.toString("base64")},i=${iterations}`
    this.#first = `${bare},${text}`
    return answer(text, false)
  }

  continue(command: Document): Document {
    if (this.isSignedIn) return answer("", true)
    const text = payloadOf(command)
    const { r, p } = fieldsOf(text)
    const said = `${this.#first},${text.slice(0, text.lastIndexOf(",p="))}`
    const clientKey = hmac(this.#salted, "Client Key")
    const signature = hmac(createHash("sha256").update(clientKey).digest(), said)
    const proof = clientKey.map((byte, index) => byte ^ signature[index]!)
    const given = Buffer.from(p ?? "", "base64")
    if (r !== this.#nonce || given.length !== proof.length || !timingSafeEqual(given, proof)) throw refused()
    this.isSignedIn = true
    return answer(`v=${hmac(hmac(this.#salted, "Server Key"), said).toString("base64")}`, true)
  }
}
