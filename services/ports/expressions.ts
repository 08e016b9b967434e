/** Expressions: JSONata over a run's data, compiled once per flow version, without any I/O. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"

/** It does not parse. */
export class ExpressionInvalid extends Data.TaggedError("ExpressionInvalid")<{
  readonly expression: string
  readonly reason: string
  /** Character offset, when known. */
  readonly at?: number
}> {
  override get message() {
    return `The expression is not valid JSONata: ${this.reason}.`
  }
}
/** It parsed, but failed on this input or ran into a limit. Permanent: the same input fails again. */
export class ExpressionFailed extends Data.TaggedError("ExpressionFailed")<{
  readonly reason: string
  readonly limit?: "time" | "depth" | "sequence" | "output"
}> {
  override get message() {
    return `The expression failed: ${this.reason}.`
  }
}
export interface CompiledExpression {
  /** Top-level names and paths that it reads, such as `steps.order.output`; used to order steps and to refuse unknown references. */
  readonly references: ReadonlyArray<ReadonlyArray<string>>
  /** JSON in, JSON out; `undefined` results become null. */
  readonly evaluate: (input: Readonly<Record<string, unknown>>) => Effect.Effect<unknown, ExpressionFailed>
}

export class Expressions extends Context.Service<
  Expressions,
  {
    readonly compile: (expression: string) => Effect.Effect<CompiledExpression, ExpressionInvalid>
  }
>()("tributary/ports/Expressions") {}
