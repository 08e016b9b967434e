/**
 * Ends the output of a test run with the servers that it could not try, and `N passed, N failed`. A file that cannot be loaded and
 * an error outside of any test count as failed.
 */
import type { Reporter, SerializedError, TestModule } from "vitest/node"

/** How the name of a skipped row ends that wants a real server. */
export const notVerified = "not verified on this machine"

export default class CountReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, errors: ReadonlyArray<SerializedError>) {
    const all = modules.flatMap((module) => Array.from(module.children.allTests()))
    const untried = all.filter((test) => test.name.endsWith(notVerified) && test.result().state === "skipped")
    for (const line of new Set(untried.map(({ name }) => name))) process.stdout.write(`\n${line}`)
    let passed = 0
    let failed = errors.length
    for (const module of modules) {
      const tests = Array.from(module.children.allTests(), (test) => test.result().state)
      passed += tests.filter((state) => state === "passed").length
      const failedTests = tests.filter((state) => state === "failed").length
      failed += failedTests > 0 || module.state() !== "failed" ? failedTests : 1
    }
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
  }
}
