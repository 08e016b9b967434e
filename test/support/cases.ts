/** How an abuse test says what it did: a test that tried nothing proves nothing. */
import { assert } from "vitest"

/** Prints the count, and fails when it is below what the test is for. */
export const ran = (name: string, count: number, atLeast: number, what: string): void => {
  console.log(`${name}: ${count} ${what}`)
  assert.isAtLeast(count, Math.max(1, atLeast), `${name} ran too few cases`)
}
