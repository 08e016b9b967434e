/** Chance from the operating system, in pools: one system call serves hundreds of ids. */
import { randomFillSync, randomUUID } from "node:crypto"
import * as Layer from "effect/Layer"
import type { EventId } from "#domain/ids.ts"
import { Entropy } from "#services/ports/entropy.ts"

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
const pool = Buffer.allocUnsafeSlow(4096)
let taken = pool.length

/** Where the next `length` random bytes of the pool begin. No byte is given twice. */
const take = (length: number): number => {
  if (taken + length > pool.length) {
    randomFillSync(pool)
    taken = 0
  }
  taken += length
  return taken - length
}

const base32 = (length: number): string => {
  let text = ""
  for (let left = length; left > 0; left--) text += alphabet[pool[take(1)]! & 31]
  return text
}

/** 48 random bits as a number in [0, 1). */
const fraction = (): number => pool.readUIntBE(take(6), 6) / 2 ** 48

export const layer = Layer.succeed(Entropy, Entropy.of({ eventId: () => randomUUID() as EventId, base32, fraction }))
