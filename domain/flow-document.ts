/** A flow's document: its trigger, its steps and how they depend on each other. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Condition, conditionDepthMax, depthOf } from "./condition.ts"
import { BindingName } from "./enablement.ts"
import { capped, type Finding, pointerOf, strictly } from "./finding.ts"
import { ConnectorId, FlowId, StepId } from "./ids.ts"
import { EventName } from "./manifest.ts"

export const flowStepsMax = 200
export const flowDocumentBytesMax = 256 * 1024

/** The step kinds that exist. */
export const stepKinds = ["transform", "action"] as const

export type Retry = typeof Retry.Type
export const Retry = Schema.Struct({
  /** All attempts, the first included. */
  attemptsMax: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 }))),
  /** Before the second attempt; doubled for each later one, with jitter. */
  backoffMillis: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 }))),
  backoffMaxMillis: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 86_400_000 })))
})

const shared = {
  id: StepId,
  name: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
  notes: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(4000))),
  /** Steps that have to be done before, besides those that its expressions read. */
  after: Schema.optionalKey(Schema.Array(StepId)),
  /** What a failure of it does to the run; `fail` unless set. */
  onError: Schema.optionalKey(Schema.Literals(["fail", "continue"]))
}

export type TransformStep = typeof TransformStep.Type
export const TransformStep = Schema.Struct({
  ...shared,
  kind: Schema.Literal("transform"),
  /** JSONata, with or without "= " in front. */
  expression: Schema.NonEmptyString.check(Schema.isMaxLength(32_768))
})

export type ActionStep = typeof ActionStep.Type
export const ActionStep = Schema.Struct({
  ...shared,
  kind: Schema.Literal("action"),
  connector: ConnectorId,
  action: Schema.NonEmptyString,
  /** JSON whose texts that start with "= " are JSONata. */
  input: Schema.optionalKey(Schema.Json),
  /** The binding that names the connection; the connector's id unless set. */
  connection: Schema.optionalKey(BindingName),
  timeoutMillis: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 600_000 }))),
  retry: Schema.optionalKey(Retry)
})

export type Step = typeof Step.Type
export const Step = Schema.Union([TransformStep, ActionStep])

export type Trigger = typeof Trigger.Type
export const Trigger = Schema.Struct({
  connector: ConnectorId,
  /** An event's name; `*` for all of the connector. */
  event: Schema.Union([Schema.Literal("*"), EventName]),
  /** Over `{ body, headers, event, deliveryId, receivedAt }`. */
  where: Schema.optionalKey(Condition)
})

export type FlowDocument = typeof FlowDocument.Type
export const FlowDocument = Schema.Struct({
  id: FlowId,
  name: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
  notes: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(10_000))),
  trigger: Trigger,
  steps: Schema.Array(Step).check(Schema.isMinLength(1)),
  /** Values for the keys of the settings cascade, at the level of the flow. */
  settings: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})

/** Top-level names that expressions may read. */
export const expressionNames = ["trigger", "steps", "run", "tenant"] as const
export const triggerNames = ["body", "headers", "event", "deliveryId", "receivedAt"] as const

/** A JSONata text, without the sign that marks it. */
export const expressionText = (text: string): string => (text.startsWith("= ") ? text.slice(2) : text)

export interface FoundExpression {
  readonly step: number
  readonly path: ReadonlyArray<string | number>
  readonly text: string
}

const expressionsWithin = (
  value: unknown,
  path: ReadonlyArray<string | number>,
  into: (path: ReadonlyArray<string | number>, text: string) => void
) => {
  if (typeof value === "string") {
    if (value.startsWith("= ")) into(path, expressionText(value))
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) expressionsWithin(item, [...path, index], into)
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) expressionsWithin(item, [...path, key], into)
  }
}

/** All expressions of a document, with the step that they belong to and where they are written. */
export const expressionsOf = (document: FlowDocument): ReadonlyArray<FoundExpression> => {
  const found: Array<FoundExpression> = []
  for (const [step, definition] of document.steps.entries()) {
    if (definition.kind === "transform") {
      found.push({ step, path: ["steps", step, "expression"], text: expressionText(definition.expression) })
    } else {
      expressionsWithin(definition.input, ["steps", step, "input"], (path, text) => found.push({ step, path, text }))
    }
  }
  return found
}

const decode = strictly(FlowDocument)

/** Steps of a kind that does not exist, so that they are refused by that name. */
const kindFindings = (input: unknown): ReadonlyArray<Finding> => {
  const steps = typeof input === "object" && input !== null && "steps" in input && Array.isArray(input.steps) ? input.steps : []
  return steps.flatMap((step: unknown, index): ReadonlyArray<Finding> => {
    const kind = typeof step === "object" && step !== null && "kind" in step ? step.kind : undefined
    if (stepKinds.some((known) => known === kind)) return []
    const found = typeof kind === "string" ? `"${kind.slice(0, 50)}" is no step kind of this release` : "The step has no kind"
    return [{ pointer: pointerOf(["steps", index, "kind"]), message: `${found}. Use one of: ${stepKinds.join(", ")}.` }]
  })
}

/** Reads a document's shape: everything that is wrong with it, or the document. `checkFlow` tells whether it can run. */
export const readFlowDocument = (input: unknown): Result.Result<FlowDocument, ReadonlyArray<Finding>> => {
  const kinds = kindFindings(input)
  const decoded = decode(input)
  if (Result.isSuccess(decoded)) return decoded
  const unknownSteps = new Set(kinds.map(({ pointer }) => pointer.slice(0, pointer.lastIndexOf("/"))))
  return Result.fail(capped([...kinds, ...decoded.failure.filter(({ pointer }) => !unknownSteps.has(pointer))]))
}

/** Indexes of the steps that each step waits for: those after which it comes and those that it reads. */
export type Dependencies = ReadonlyArray<ReadonlyArray<number>>

/**
 * Who waits for whom. `reads` gives, per step, the steps that its expressions read; names that do not exist are left out, as
 * `checkFlow` reports them.
 */
export const dependenciesOf = (document: FlowDocument, reads: (step: number) => ReadonlyArray<string>): Dependencies => {
  const indexes = new Map<string, number>(document.steps.map(({ id }, index) => [id, index]))
  return document.steps.map((step, index) => {
    const wanted = [...(step.after ?? []), ...reads(index)].flatMap((id) => indexes.get(id) ?? [])
    return [...new Set(wanted)].sort((left, right) => left - right)
  })
}

export type Ordered = { readonly order: ReadonlyArray<number> } | { readonly cycle: ReadonlyArray<number> }

/** An order in which each step comes after those that it waits for, as near to the written order as can be; or a cycle. */
export const orderOf = (dependencies: Dependencies): Ordered => {
  const order: Array<number> = []
  const done = new Set<number>()
  for (;;) {
    const next = dependencies.findIndex((needs, index) => !done.has(index) && needs.every((needed) => done.has(needed)))
    if (next === -1) break
    done.add(next)
    order.push(next)
  }
  if (order.length === dependencies.length) return { order }
  return { cycle: cycleAmong(dependencies, done) }
}

/** Walks from a step that never became ready to ones that it waits for, until one comes again. */
const cycleAmong = (dependencies: Dependencies, done: ReadonlySet<number>): ReadonlyArray<number> => {
  const walked: Array<number> = []
  let at = dependencies.findIndex((_, index) => !done.has(index))
  while (!walked.includes(at)) {
    walked.push(at)
    at = dependencies[at]!.find((needed) => !done.has(needed))!
  }
  return walked.slice(walked.indexOf(at))
}

export const conditionFindings = (document: FlowDocument): ReadonlyArray<Finding> =>
  document.trigger.where !== undefined && depthOf(document.trigger.where) > conditionDepthMax
    ? [{ pointer: "/trigger/where", message: `Conditions may be nested ${conditionDepthMax} deep. Flatten it.` }]
    : []
