/** A property test: it must hold for arbitrary values of a schema. A failure prints the seed that repeats it. */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { assert, it } from "vitest"

export const property = <A>(
  name: string,
  schema: Schema.Codec<A, unknown>,
  holds: (value: A) => void | Promise<void>,
  options: { readonly runs?: number; readonly seed?: number } = {}
) =>
  it(name, async () => {
    const result = await Effect.runPromise(
      Arbitrary.checkEffect(
        Arbitrary.schema(schema),
        (value) =>
          Effect.promise(async () => {
            await holds(value)
            return true
          }),
        {
          ...(options.runs === undefined ? {} : { runs: options.runs }),
          ...(options.seed === undefined ? {} : { seed: options.seed })
        }
      )
    )
    assert.isUndefined(Arbitrary.formatCheckFailure(result))
  })
