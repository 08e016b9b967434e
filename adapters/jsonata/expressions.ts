/**
 * Expressions by JSONata, in this process, for authors who are trusted not to be hostile and data that is not trusted at all.
 * Beyond JSONata's guardrails: linear-time regular expressions, copies without prototypes, metered work, bounded results, and no
 * `$eval`, `$now`, `$millis`, `$random` and `$shuffle`, so that a repeated evaluation gives the same result.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import jsonata from "jsonata"
import { type CompiledExpression, ExpressionFailed, ExpressionInvalid, Expressions } from "#services/ports/expressions.ts"
import { type Node, referencesOf, refuse, updatesOf } from "./checks.ts"
import { directOf, indirect } from "./direct.ts"
import { type BoundedName, boundedFunctions, boundedNames, type NativeFunction } from "./functions.ts"
import { copyIn, copyOut } from "./json.ts"
import { defaultLimits, type Limits, Meter, Stopped } from "./limits.ts"
import { LinearRegex } from "./regex.ts"

interface Thrown {
  readonly code?: string
  readonly message?: string
  readonly position?: number
  readonly value?: unknown
  readonly value2?: unknown
}

const afterEach = Symbol.for("jsonata.__evaluate_exit")
const unavailable = ["eval", "now", "millis", "random", "shuffle"]
const reasonCharsMax = 200

/** JSONata writes the offending values into its messages: those are a customer's, and stay out. */
const reasonOf = (thrown: Thrown): string => {
  let text = thrown.message ?? "unknown error"
  for (const value of [thrown.value, thrown.value2]) {
    const written = value === undefined ? undefined : safeJson(value)
    if (written !== undefined && written.length > 1) text = text.replaceAll(written, "a value")
  }
  const code = thrown.code === undefined ? "" : ` (${thrown.code}${thrown.position === undefined ? "" : ` at ${thrown.position}`})`
  return text.slice(0, reasonCharsMax).replace(/[.\s]+$/, "") + code
}

const safeJson = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

const failureOf = (thrown: unknown): ExpressionFailed => {
  const failed = (reason: string, limit?: ExpressionFailed["limit"]) =>
    new ExpressionFailed(limit === undefined ? { reason } : { reason, limit })
  if (thrown instanceof Stopped) return failed(thrown.message, thrown.limit)
  if (thrown instanceof RangeError)
    return failed("it nests too deep or a text grows too long", /stack/.test(thrown.message) ? "depth" : "output")
  const { code } = thrown as Thrown
  if (code === "D1011") return failed("it calls itself too deep", "depth")
  if (code === "D2014" || code === "D2015") return failed("a list has too many items", "sequence")
  return failed(reasonOf(thrown as Thrown))
}

/** JSONata does not export its functions; an expression that names one gives it. */
const originals = Effect.promise(async () => {
  const found = new Map<BoundedName, NativeFunction>()
  for (const name of boundedNames) found.set(name, (await jsonata(`$${name}`).evaluate(null)) as NativeFunction)
  return found
})

const invalid = (expression: string, reason: string, at?: number) =>
  new ExpressionInvalid(at === undefined ? { expression, reason } : { expression, reason, at })

const make = (functions: ReturnType<typeof boundedFunctions>, limits: Limits) => {
  const parse = (text: string) => {
    const options = {
      RegexEngine: LinearRegex as never,
      stack: limits.depthMax,
      sequence: limits.sequenceMax
    }
    const parsed = jsonata(text, options)
    for (const name of unavailable) parsed.assign(name, undefined)
    for (const [name, own] of functions) parsed.assign(name, own)
    const updates = updatesOf(parsed.ast() as unknown as Node)
    // Each evaluation has a base environment of its own, which lives as long as it does: its meter is kept there.
    const meterAfter = (node: Node, _input: unknown, environment: { base: { meter?: Meter } }, result: unknown) => {
      environment.base.meter ??= new Meter(limits)
      const { meter } = environment.base
      if (updates.size > 0 && updates.has(node)) meter.forgetWeights()
      return meter.step(node.type, result)
    }
    parsed.assign(afterEach as never, meterAfter)
    return parsed
  }

  const evaluate = (parsed: jsonata.Expression, tree: Node): CompiledExpression["evaluate"] => {
    const indirectly = byJsonata(parsed)
    const direct = directOf(tree)
    if (direct === undefined) return indirectly
    return (input) => {
      try {
        const result = direct(input)
        return result === indirect ? indirectly(input) : Effect.succeed(copyOut(result, limits.outputCharsMax))
      } catch (thrown) {
        return Effect.fail(failureOf(thrown))
      }
    }
  }

  const byJsonata =
    (parsed: jsonata.Expression): CompiledExpression["evaluate"] =>
    (input) =>
      Effect.callback((resume) => {
        const run = async () => copyOut(await parsed.evaluate(copyIn(input)), limits.outputCharsMax)
        run().then(
          (result) => resume(Effect.succeed(result)),
          (thrown: unknown) => resume(Effect.fail(failureOf(thrown)))
        )
      })

  const compile = (text: string): Effect.Effect<CompiledExpression, ExpressionInvalid> =>
    Effect.suspend(() => {
      if (text.length > limits.expressionCharsMax) {
        return Effect.fail(invalid(text.slice(0, reasonCharsMax), `it is longer than ${limits.expressionCharsMax} characters`))
      }
      try {
        const parsed = parse(text)
        const tree = parsed.ast() as unknown as Node
        const refused = refuse(tree)
        if (refused !== undefined) return Effect.fail(invalid(text, refused.reason, refused.at))
        return Effect.succeed({ references: referencesOf(tree), evaluate: evaluate(parsed, tree) })
      } catch (thrown) {
        const reason = thrown instanceof RangeError ? "it nests too deep" : reasonOf(thrown as Thrown)
        return Effect.fail(invalid(text, reason, (thrown as Thrown).position))
      }
    })

  return Expressions.of({ compile })
}

export const layerWith = (limits: Partial<Limits>) => {
  const all = { ...defaultLimits, ...limits }
  return Layer.effect(
    Expressions,
    Effect.map(originals, (found) => make(boundedFunctions(found, all), all))
  )
}

export const layer = layerWith({})
