/** Whether a flow can run: every problem of its document at once, each with its place and what to do. */

import { capped, type Finding, pointerOf } from "./finding.ts"
import {
  type ActionStep,
  conditionFindings,
  dependenciesOf,
  expressionNames,
  expressionsOf,
  type FlowDocument,
  flowDocumentBytesMax,
  flowStepsMax,
  orderOf,
  triggerNames
} from "./flow-document.ts"
import { missingProperties } from "./json-schema.ts"
import type { Manifest } from "./manifest.ts"

/** Paths that an expression reads, or why it does not parse. */
export type References = { readonly paths: ReadonlyArray<ReadonlyArray<string>> } | { readonly invalid: string; readonly at?: number }

/** What a flow is checked against. */
export interface FlowSurroundings {
  /** A connector's manifest, undefined where there is none. */
  readonly manifest: (connectorId: string) => Manifest | undefined
  /** By the expression's text. */
  readonly references: (expression: string) => References
  /** Size of the document's text, in bytes. */
  readonly documentBytes: number
}

const finding = (path: ReadonlyArray<string | number>, message: string): Finding => ({ pointer: pointerOf(path), message })

const named = (names: ReadonlyArray<string>): string => (names.length === 0 ? "none" : names.slice(0, 30).join(", "))

const sizeFindings = (document: FlowDocument, bytes: number): ReadonlyArray<Finding> => [
  ...(bytes > flowDocumentBytesMax
    ? [finding([], `The document has ${bytes} bytes; the most is ${flowDocumentBytesMax}. Split the flow.`)]
    : []),
  ...(document.steps.length > flowStepsMax
    ? [finding(["steps"], `The flow has ${document.steps.length} steps; the most is ${flowStepsMax}. Split the flow.`)]
    : [])
]

const idFindings = (document: FlowDocument): ReadonlyArray<Finding> => {
  const first = new Map<string, number>()
  return document.steps.flatMap(({ id }, index) => {
    const earlier = first.get(id)
    if (earlier !== undefined)
      return [finding(["steps", index, "id"], `"${id}" names /steps/${earlier} already. Give each step a name of its own.`)]
    first.set(id, index)
    return []
  })
}

const afterFindings = (document: FlowDocument, ids: ReadonlySet<string>): ReadonlyArray<Finding> =>
  document.steps.flatMap((step, index) =>
    (step.after ?? []).flatMap((id, place) =>
      ids.has(id) ? [] : [finding(["steps", index, "after", place], `There is no step "${id}". Steps of this flow: ${named([...ids])}.`)]
    )
  )

const triggerFindings = ({ trigger }: FlowDocument, { manifest }: FlowSurroundings): ReadonlyArray<Finding> => {
  const found = manifest(trigger.connector)
  if (found === undefined) {
    return [finding(["trigger", "connector"], `There is no connector "${trigger.connector}". Publish it first, or correct the name.`)]
  }
  const events = (found.triggers ?? []).map(({ event }) => event)
  if (events.length === 0)
    return [finding(["trigger", "connector"], `The connector "${trigger.connector}" has no triggers. Choose another.`)]
  return trigger.event === "*" || events.includes(trigger.event)
    ? []
    : [
        finding(
          ["trigger", "event"],
          `"${trigger.event}" is no event of "${trigger.connector}". Its events: ${named(events)}; or * for all.`
        )
      ]
}

const actionFindings = (step: ActionStep, index: number, { manifest }: FlowSurroundings): ReadonlyArray<Finding> => {
  const found = manifest(step.connector)
  if (found === undefined) {
    return [finding(["steps", index, "connector"], `There is no connector "${step.connector}". Publish it first, or correct the name.`)]
  }
  const actions = found.actions ?? {}
  const action = Object.hasOwn(actions, step.action) ? actions[step.action] : undefined
  if (action === undefined) {
    const known = named(Object.keys(actions))
    return [finding(["steps", index, "action"], `"${step.action}" is no action of "${step.connector}". Its actions: ${known}.`)]
  }
  if (action.input === undefined) return []
  const isExpression = (value: unknown) => typeof value === "string" && value.startsWith("= ")
  return missingProperties(action.input, step.input ?? {}, isExpression).map((path) =>
    finding(["steps", index, "input", ...path], `The action "${step.action}" of "${step.connector}" requires this property. Add it.`)
  )
}

/** What one expression reads that does not exist. */
const referenceFindings = (
  path: ReadonlyArray<string | number>,
  references: ReadonlyArray<ReadonlyArray<string>>,
  ids: ReadonlySet<string>,
  ordered: boolean
): ReadonlyArray<Finding> =>
  references.flatMap(([root, name, member]): ReadonlyArray<Finding> => {
    if (root === "steps" && name === undefined && !ordered) {
      return [
        finding(path, "It reads steps without naming one, so it is not known what to wait for. Write steps.<id>.output, or add after.")
      ]
    }
    if (root === "steps" && name !== undefined && !ids.has(name)) {
      return [finding(path, `It reads steps.${name}, but there is no such step. Steps of this flow: ${named([...ids])}.`)]
    }
    if (root === "steps" && name !== undefined && member !== undefined && member !== "output") {
      return [finding(path, `It reads steps.${name}.${member}, but a step has output alone. Write steps.${name}.output.`)]
    }
    if (root === "trigger" && name !== undefined && !triggerNames.some((known) => known === name)) {
      return [finding(path, `It reads trigger.${name}, but a trigger has ${triggerNames.join(", ")} alone.`)]
    }
    if (root !== undefined && !expressionNames.some((known) => known === root)) {
      return [finding(path, `It reads "${root}", which does not exist. Begin with one of: ${expressionNames.join(", ")}.`)]
    }
    return []
  })

/** The steps that each step's expressions read, with what is wrong with the expressions. */
const expressionFindings = (document: FlowDocument, ids: ReadonlySet<string>, { references }: FlowSurroundings) => {
  const reads = new Map<number, Array<string>>()
  const findings: Array<Finding> = []
  for (const { step, path, text } of expressionsOf(document)) {
    const found = references(text)
    if ("invalid" in found) {
      const where = found.at === undefined ? "" : ` at character ${found.at}`
      findings.push(finding(path, `The expression is not valid JSONata${where}: ${found.invalid}. Correct it.`))
      continue
    }
    const ordered = (document.steps[step]!.after ?? []).length > 0
    findings.push(...referenceFindings(path, found.paths, ids, ordered))
    reads.set(step, [...(reads.get(step) ?? []), ...stepsRead(found.paths)])
  }
  return { reads, findings }
}

/** The steps among the paths that an expression reads. */
export const stepsRead = (paths: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> =>
  paths.flatMap(([root, name]) => (root === "steps" && name !== undefined ? [name] : []))

const cycleFindings = (document: FlowDocument, reads: ReadonlyMap<number, ReadonlyArray<string>>): ReadonlyArray<Finding> => {
  const ordered = orderOf(dependenciesOf(document, (step) => reads.get(step) ?? []))
  if ("order" in ordered) return []
  const names = ordered.cycle.map((index) => document.steps[index]!.id)
  return [
    finding(
      ["steps", ordered.cycle[0]!],
      `Steps wait for each other in a circle: ${[...names, names[0]!].join(" after ")}. Remove one of these references.`
    )
  ]
}

/** Everything that keeps a flow from running; nothing: it can be published. */
export const checkFlow = (document: FlowDocument, surroundings: FlowSurroundings): ReadonlyArray<Finding> => {
  const tooLarge = sizeFindings(document, surroundings.documentBytes)
  if (tooLarge.length > 0) return tooLarge
  const ids: ReadonlySet<string> = new Set(document.steps.map(({ id }) => id))
  const expressions = expressionFindings(document, ids, surroundings)
  return capped([
    ...triggerFindings(document, surroundings),
    ...conditionFindings(document),
    ...idFindings(document),
    ...afterFindings(document, ids),
    ...document.steps.flatMap((step, index) => (step.kind === "action" ? actionFindings(step, index, surroundings) : [])),
    ...expressions.findings,
    ...cycleFindings(document, expressions.reads)
  ])
}
