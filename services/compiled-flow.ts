/** A flow ready to run: its document read, its steps ordered and its expressions compiled, once per version. */
import * as Effect from "effect/Effect"
import { predicateOf } from "#domain/condition.ts"
import { stepsRead } from "#domain/flow-check.ts"
import { dependenciesOf, expressionText, type FlowDocument, orderOf, type Step } from "#domain/flow-document.ts"
import type { FlowId, StepId } from "#domain/ids.ts"
import type { RunGraph } from "#domain/run-plan.ts"
import type { CompiledExpression, ExpressionFailed, ExpressionInvalid, Expressions } from "./ports/expressions.ts"

/** What expressions read: `trigger`, `steps`, `run`, `tenant`. */
export type RunData = Readonly<Record<string, unknown>>

export interface CompiledStep {
  readonly id: StepId
  readonly kind: Step["kind"]
  /** A transform's output, an action's input. */
  readonly evaluate: (data: RunData) => Effect.Effect<unknown, ExpressionFailed>
}

export interface CompiledFlow {
  readonly flowId: FlowId
  readonly version: number
  readonly document: FlowDocument
  /** In the document's order, as `graph` counts them. */
  readonly steps: ReadonlyArray<CompiledStep>
  readonly stepList: ReadonlyArray<{ readonly id: StepId; readonly kind: Step["kind"] }>
  readonly graph: RunGraph
  /** By the event's name alone. */
  readonly wants: (event: string) => boolean
  /** By the trigger's condition, over `{ body, headers, event, deliveryId, receivedAt }`. */
  readonly accepts: (trigger: object) => boolean
}

type Compile = (expression: string) => Effect.Effect<CompiledExpression, ExpressionInvalid>
type Evaluate = CompiledStep["evaluate"]

interface CompiledValue {
  readonly evaluate: Evaluate
  readonly expressions: ReadonlyArray<CompiledExpression>
}

const constant = (value: unknown): CompiledValue => {
  const done = Effect.succeed(value)
  return { evaluate: () => done, expressions: [] }
}

const compileExpression = (compile: Compile, text: string): Effect.Effect<CompiledValue, ExpressionInvalid> =>
  Effect.map(compile(text), (expression) => ({ evaluate: expression.evaluate, expressions: [expression] }))

const compileArray = Effect.fnUntraced(function* (compile: Compile, items: ReadonlyArray<unknown>) {
  const compiled = yield* Effect.forEach(items, (item) => compileValue(compile, item))
  const expressions = compiled.flatMap((item) => item.expressions)
  if (expressions.length === 0) return constant(items)
  return { evaluate: (data: RunData) => Effect.forEach(compiled, ({ evaluate }) => evaluate(data)), expressions }
})

const compileObject = Effect.fnUntraced(function* (compile: Compile, value: object) {
  const entries = yield* Effect.forEach(Object.entries(value), ([name, inner]) =>
    Effect.map(compileValue(compile, inner), (compiled) => [name, compiled] as const)
  )
  const expressions = entries.flatMap(([, compiled]) => compiled.expressions)
  if (expressions.length === 0) return constant(value)
  const evaluate = Effect.fnUntraced(function* (data: RunData) {
    const filled: Record<string, unknown> = {}
    for (const [name, compiled] of entries) filled[name] = yield* compiled.evaluate(data)
    return filled as unknown
  })
  return { evaluate, expressions }
})

/** JSON whose texts that start with "= " are expressions; what holds none is handed out as it is. */
const compileValue = (compile: Compile, value: unknown): Effect.Effect<CompiledValue, ExpressionInvalid> => {
  if (typeof value === "string")
    return value.startsWith("= ") ? compileExpression(compile, expressionText(value)) : Effect.succeed(constant(value))
  if (Array.isArray(value)) return compileArray(compile, value)
  if (typeof value === "object" && value !== null) return compileObject(compile, value)
  return Effect.succeed(constant(value))
}

const compileStep = (compile: Compile, step: Step): Effect.Effect<CompiledValue, ExpressionInvalid> =>
  step.kind === "transform" ? compileExpression(compile, expressionText(step.expression)) : compileValue(compile, step.input ?? {})

/** Compiles a document that `checkFlow` found nothing wrong with; a circle is a defect. */
export const compileFlow = Effect.fnUntraced(function* (
  document: FlowDocument,
  version: number,
  { compile }: Pick<Expressions["Service"], "compile">
) {
  const values = yield* Effect.forEach(document.steps, (step) => compileStep(compile, step))
  const needs = dependenciesOf(document, (index) => values[index]!.expressions.flatMap(({ references }) => stepsRead(references)))
  const ordered = orderOf(needs)
  if (!("order" in ordered)) return yield* Effect.die(new Error(`The flow ${document.id} has steps that wait for each other in a circle.`))
  const { trigger } = document
  const accepts = trigger.where === undefined ? () => true : predicateOf(trigger.where)
  const compiled: CompiledFlow = {
    flowId: document.id,
    version,
    document,
    steps: document.steps.map(({ id, kind }, index) => ({ id, kind, evaluate: values[index]!.evaluate })),
    stepList: document.steps.map(({ id, kind }) => ({ id, kind })),
    graph: { ids: document.steps.map(({ id }) => id), order: ordered.order, needs },
    wants: trigger.event === "*" ? () => true : (event) => event === trigger.event,
    accepts
  }
  return compiled
})
