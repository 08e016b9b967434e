/**
 * The plain part of JSONata, without JSONata: paths of names, literals and objects of these, which is what most mappings are. Where a
 * list is met the rules of sequences begin, and JSONata itself evaluates the whole expression. It makes none
 * of the promises that JSONata makes for each node.
 */
import type { Node } from "./checks.ts"

/** A list was met: the answer is JSONata's to give. */
export const indirect = Symbol("indirect")

/** The value, undefined where nothing is there, or `indirect`. */
export type Direct = (input: unknown) => unknown

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null

/** A node that has these members and no others: predicates, groups, bindings and the like are members too. */
const hasOnly = (node: object, members: ReadonlyArray<string>): boolean => Object.keys(node).every((name) => members.includes(name))

const pathOf = (node: Node): Direct | undefined => {
  if (!hasOnly(node, ["type", "steps"])) return undefined
  const names: Array<string> = []
  for (const step of node.steps ?? []) {
    if (step.type !== "name" || typeof step.value !== "string" || !hasOnly(step, ["type", "value", "position"])) return undefined
    names.push(step.value)
  }
  return (input) => {
    let value = input
    for (const name of names) {
      if (Array.isArray(value)) return indirect
      if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
      value = value[name]
    }
    return Array.isArray(value) ? indirect : value
  }
}

const objectOf = (node: Node): Direct | undefined => {
  if (node.value !== "{" || !hasOnly(node, ["type", "value", "position", "lhs"])) return undefined
  const fields = new Map<string, Direct>()
  for (const [key, value] of (node.lhs ?? []) as ReadonlyArray<readonly [Node, Node]>) {
    const direct = directOf(value)
    if (key.type !== "string" || typeof key.value !== "string" || key.value === "__proto__" || fields.has(key.value)) return undefined
    if (direct === undefined) return undefined
    fields.set(key.value, direct)
  }
  const entries = [...fields]
  return (input) => {
    const made: Record<string, unknown> = {}
    for (const [name, direct] of entries) {
      const value = direct(input)
      if (value === indirect) return indirect
      if (value !== undefined) made[name] = value
    }
    return made
  }
}

/** How to evaluate a syntax tree directly; undefined: it needs JSONata. */
export const directOf = (node: Node): Direct | undefined => {
  switch (node.type) {
    case "path":
      return pathOf(node)
    case "string":
    case "number":
    case "value":
      return hasOnly(node, ["type", "value", "position"]) ? () => node.value : undefined
    case "unary":
      return objectOf(node)
    default:
      return undefined
  }
}
