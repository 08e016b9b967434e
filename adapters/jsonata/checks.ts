/** What is decided of an expression before it ever runs: what it reads, and the parts of JSONata that are not available. */
import { RE2JS } from "re2js"

/** A node of JSONata's syntax tree; its own type leaves most fields out. */
export interface Node {
  readonly type?: string
  readonly value?: unknown
  readonly position?: number
  readonly steps?: ReadonlyArray<Node>
  readonly signature?: { readonly definition: string }
  readonly [field: string]: unknown
}
export interface Refusal {
  readonly reason: string
  readonly at?: number
}

/** The same input must give the same result: a run that is repeated may not see another time or another chance. */
const impure = new Set(["now", "millis", "random", "shuffle"])

const programInstructionsMax = 500
const signatureCharsMax = 32

/** RE2's syntax: no look-around and no back-references, and in exchange time linear in the text. */
export const compileRegex = (pattern: RegExp): RE2JS => {
  const flags = (pattern.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0) | (pattern.multiline ? RE2JS.MULTILINE : 0)
  const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern.source), flags)
  if (compiled.programSize() > programInstructionsMax) throw new Error("it is too large")
  return compiled
}

const refuseRegex = (pattern: RegExp): string | undefined => {
  try {
    compileRegex(pattern)
    return undefined
  } catch (error) {
    return `the regular expression is not supported (${(error as Error).message}); look-around and back-references are not available`
  }
}

const refuseVariable = (name: unknown): string | undefined => {
  if (name === "eval") return "$eval is not available"
  return impure.has(name as string)
    ? `$${name} is not available: an expression must give the same result each time it is repeated`
    : undefined
}

const refuseNode = (node: Node): string | undefined => {
  if (node.type === "variable") return refuseVariable(node.value)
  if (node.type === "regex") return refuseRegex(node.value as RegExp)
  if (node.type === "partial") return "partial application is not available; write function($x){ … } instead"
  // JSONata matches arguments against a signature by a backtracking regular expression.
  if (node.type === "lambda" && node.signature !== undefined) {
    const { definition } = node.signature
    if (definition.length > signatureCharsMax || definition.split("+").length > 2) return "the function's signature is too complex"
  }
  return undefined
}

/** Fields that hold no sub-expressions of their own. */
const notChildren = new Set(["ancestor", "slot", "seekingParent", "signature", "type", "position"])

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !(value instanceof RegExp)

/** Every node of the tree, each once. */
function* nodes(root: Node): Generator<Node> {
  const seen = new Set<Node>()
  const open: Array<Node> = [root]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (seen.has(node)) continue
    seen.add(node)
    yield node
    for (const [field, child] of Object.entries(node)) if (!notChildren.has(field) && isNode(child)) open.push(child)
  }
}

export const refuse = (root: Node): Refusal | undefined => {
  for (const node of nodes(root)) {
    const reason = refuseNode(node)
    if (reason !== undefined) return node.position === undefined ? { reason } : { reason, at: node.position }
  }
  return undefined
}

/** The parts of a tree that build upon a changed object: what a transform puts into its copy. */
export const updatesOf = (root: Node): ReadonlySet<unknown> => {
  const updates = new Set<unknown>()
  for (const node of nodes(root)) if (node.type === "transform") updates.add(node.update)
  return updates
}

/**
 * The paths that an expression reads from its input, as far as their names are fixed: `steps.order.output[0].x` gives
 * `steps.order.output`. An empty path means that it may read anything (`$`, `$$`, `*`, `**`, `%`). Never fewer than it reads.
 */
export const referencesOf = (root: Node): ReadonlyArray<ReadonlyArray<string>> => {
  const found = new Map<string, ReadonlyArray<string>>()
  const add = (path: ReadonlyArray<string>) => found.set(JSON.stringify(path), path)
  visit(root, true, add)
  return Array.from(found.values())
}

type Add = (path: ReadonlyArray<string>) => void

/** `atRoot`: names here are looked up in the input itself, not in a part of it. */
const visit = (node: unknown, atRoot: boolean, add: Add): void => {
  if (!isNode(node)) return
  if (node.type === "path") visitPath(node, atRoot, add)
  else {
    if (readsAnything(node, atRoot)) add([])
    for (const [field, child] of Object.entries(node)) {
      const relative = field === "predicate" || field === "stages" || field === "group" || node.type === "transform"
      if (!notChildren.has(field)) visit(child, atRoot && !relative, add)
    }
  }
}

const readsAnything = (node: Node, atRoot: boolean): boolean => {
  if (node.type === "variable") return node.value === "$" || (node.value === "" && atRoot)
  return node.type === "parent" || (atRoot && (node.type === "wildcard" || node.type === "descendant"))
}

const visitPath = (node: Node, atRoot: boolean, add: Add): void => {
  const steps = node.steps ?? []
  const byVariable = steps[0]?.type === "variable"
  const rooted = byVariable ? steps[0]?.value === "$" || (steps[0]?.value === "" && atRoot) : atRoot
  const named = rooted ? namesOf(steps.slice(byVariable ? 1 : 0)) : []
  // `a@$b.c` looks for `c` where `a` was found.
  if (rooted && steps.some((step) => step.focus !== undefined)) add([])
  if (rooted && (named.length > 0 || byVariable)) add(named)
  for (const [index, step] of steps.entries()) {
    const stepAtRoot = index === 0 && (byVariable ? rooted : atRoot)
    if (step.type !== "name" && !(byVariable && index === 0)) visit(step, stepAtRoot, add)
    for (const filter of [step.stages, step.predicate]) visit(filter, byVariable && stepAtRoot, add)
  }
  for (const after of [node.group, node.predicate]) visit(after, false, add)
}

const namesOf = (steps: ReadonlyArray<Node>): ReadonlyArray<string> => {
  const names: Array<string> = []
  for (const step of steps) {
    if (step.type !== "name") break
    names.push(String(step.value))
    if (step.stages !== undefined) break
  }
  return names
}
