/** Ids that are hashes of what they stand for: a repeat of the cause finds the same stream (R8, R10, R12). */
import { hash } from "node:crypto"
import type { DeliveryId, RunId, StepId } from "#domain/ids.ts"

const alphabet = Buffer.from("abcdefghijklmnopqrstuvwxyz234567", "latin1")
const digits = Buffer.allocUnsafeSlow(26)

/** The first 130 bits of a SHA-256, as 26 characters of lower-case base32. */
export const digest26 = (text: string): string => {
  const bytes = hash("sha256", text, "binary")
  let taken = 0
  let bits = 0
  let value = 0
  for (let at = 0; at < digits.length; at++) {
    if (bits < 5) {
      value = ((value << 8) | bytes.charCodeAt(taken++)) & 0xfff
      bits += 8
    }
    bits -= 5
    digits[at] = alphabet[(value >>> bits) & 31]!
  }
  return digits.toString("latin1")
}

/**
 * `key` is the vendor's delivery id, or the content's hash; the source keeps those of two apps and of two tenants apart: run ids and
 * the idempotency keys that vendors see follow from it.
 */
export const deliveryIdOf = (source: string, key: string): DeliveryId => digest26(`delivery\n${source}\n${key}`) as DeliveryId

/** The id of the delivery's n-th window: the first has no suffix. */
export const deliveryWindow = (id: DeliveryId, window: number): DeliveryId => (window === 0 ? id : `${id}.${window}`) as DeliveryId

/** `purpose`: `route`, or `rerun <command id>`. The version is not part of it: a publish in between starts no second run. */
export const runIdOf = (deliveryId: DeliveryId, flowId: string, purpose: string): RunId =>
  digest26(`run\n${deliveryId}\n${flowId}\n${purpose}`) as RunId

/** The same for every attempt of a generation. */
export const idempotencyKeyOf = (runId: RunId, step: StepId, generation: number): string =>
  digest26(`step\n${runId}\n${step}\n${generation}`)
