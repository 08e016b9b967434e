/** AES-256-GCM as it is used everywhere here: `nonce (12) | ciphertext | tag (16)`, bound to a context by associated data. */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject, randomFillSync } from "node:crypto"

export const nonceBytes = 12
export const tagBytes = 16
/** How much longer a sealed text is than what it holds. */
export const sealBytes = nonceBytes + tagBytes

const cipher = "aes-256-gcm"
const tagLength = { authTagLength: tagBytes }

const noncePool = Buffer.allocUnsafeSlow(nonceBytes * 1024)
let nonceAt = noncePool.length
const copyNonce = (into: Uint8Array, at: number): void => {
  if (nonceAt === noncePool.length) {
    randomFillSync(noncePool)
    nonceAt = 0
  }
  noncePool.copy(into, at, nonceAt, nonceAt + nonceBytes)
  nonceAt += nonceBytes
}

/** Seals into `target` from its start; returns the number of bytes. The target has room for `plain.length + sealBytes`. */
export const sealInto = (target: Buffer, key: KeyObject, context: string, plain: Uint8Array): number => {
  copyNonce(target, 0)
  const sealer = createCipheriv(cipher, key, target.subarray(0, nonceBytes), tagLength)
  sealer.setAAD(Buffer.from(context, "utf8"))
  sealer.update(plain).copy(target, nonceBytes)
  sealer.final()
  const end = nonceBytes + plain.length
  sealer.getAuthTag().copy(target, end)
  return end + tagBytes
}

export const seal = (key: KeyObject, context: string, plain: Uint8Array): Buffer => {
  const sealed = Buffer.allocUnsafeSlow(plain.length + sealBytes)
  sealInto(sealed, key, context, plain)
  return sealed
}

/** The text that was sealed, or null when key, context or bytes are not those of the sealing. */
export const unseal = (key: KeyObject, context: string, sealed: Uint8Array): Buffer | null => {
  if (sealed.length < sealBytes) return null
  const end = sealed.length - tagBytes
  const opener = createDecipheriv(cipher, key, sealed.subarray(0, nonceBytes), tagLength)
  opener.setAAD(Buffer.from(context, "utf8"))
  opener.setAuthTag(sealed.subarray(end))
  const plain = opener.update(sealed.subarray(nonceBytes, end))
  try {
    opener.final()
    return plain
  } catch {
    return null
  }
}

/** A key of its own for one purpose, from a random key: HKDF-Expand with one block (RFC 5869). */
export const deriveKey = (key: KeyObject, purpose: string): KeyObject =>
  createSecretKey(createHmac("sha256", key).update(`${purpose}\u0001`).digest())

export const keyedHash = (key: KeyObject, content: Uint8Array | string): string => createHmac("sha256", key).update(content).digest("hex")
