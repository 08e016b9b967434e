/** What a command says when it could not do its work: for a person, or as one JSON object. */
import * as Data from "effect/Data"
import * as Runtime from "effect/Runtime"

/** A problem as the server answers it (RFC 9457), or our own in the same shape. */
export interface Problem {
  readonly title: string
  /** What happened, what was lost and what to do. */
  readonly detail: string
  /** HTTP status, where the server answered. */
  readonly status?: number
  readonly type?: string
}

/** A command that ended without success; its detail says what to do. */
export class CommandFailed extends Data.TaggedError("CommandFailed")<{ readonly problem: Problem & Readonly<Record<string, unknown>> }> {
  override get message() {
    return this.problem.detail
  }
}

export const failed = (title: string, detail: string): CommandFailed => new CommandFailed({ problem: { title, detail } })

/** Ends the process with code 1 after everything was said. */
export class Told extends Data.TaggedError("Told") {
  override readonly [Runtime.errorReported] = false
}

interface Finding {
  readonly pointer: string
  readonly message?: string
  readonly detail?: string
}

/** Places that are wrong: of a document, or of the request. */
const findingsOf = ({ findings, errors }: CommandFailed["problem"]): ReadonlyArray<Finding> =>
  [findings, errors].flatMap((list) => (Array.isArray(list) ? (list as ReadonlyArray<Finding>) : []))
const findingsMax = 30

/** What the detail says before it lists them. */
const beforeFindings = (detail: string, { pointer }: Finding): string => {
  const at = detail.indexOf(` ${pointer}: `)
  return at === -1 ? detail : detail.slice(0, at)
}

/** The problem in a few lines, with each place that is wrong on a line of its own. */
export const describe = ({ problem }: CommandFailed): string => {
  const { title, detail, status } = problem
  const findings = findingsOf(problem)
  const [first] = findings
  return [
    status === undefined ? title : `${title} (${status})`,
    `  ${first === undefined ? detail : beforeFindings(detail, first)}`,
    ...findings.slice(0, findingsMax).map((finding) => `  ${finding.pointer || "/"}  ${finding.message ?? finding.detail ?? ""}`)
  ].join("\n")
}
