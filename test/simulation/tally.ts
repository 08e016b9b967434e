/** What a number of executions injected and found. */
import { violationsOf } from "./checker.ts"
import { type Executed, type ExecutionOptions, execute } from "./execution.ts"
import type { Fixture } from "./fixtures.ts"

export class Tally {
  executions = 0
  ios = 0
  readonly injected: Record<string, number> = {}
  readonly violations: Array<string> = []

  /** Plays it and checks it; `name`: how a person repeats it. */
  play(name: string, fixture: Fixture, options: ExecutionOptions): Executed {
    const executed = execute(fixture, options)
    const { world } = executed
    this.executions++
    this.ios += world.ios
    for (const [fault, count] of world.injected) this.add(fault, count)
    for (const violation of violationsOf(executed)) this.violations.push(`${name}: ${violation}`)
    return executed
  }

  add(fault: string, count: number): void {
    if (count > 0) this.injected[fault] = (this.injected[fault] ?? 0) + count
  }
}
