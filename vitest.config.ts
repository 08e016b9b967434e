/** How the tests run: each file in a process of its own, since some kill threads, hold locks on folders or watch the event loop. */
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // Long enough for a machine that is busy with something else: nothing is asserted about time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    reporters: [process.env.CI === undefined ? "default" : "dot", "./test/support/count-reporter.ts"]
  }
})
