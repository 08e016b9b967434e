/** Prometheus text. */
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { counterBy, gauge, Metrics, render } from "#infra/metrics.ts"

describe("metrics", () => {
  it("are written in the text format, with labels escaped", () =>
    assert.strictEqual(
      render([gauge("depth", "How deep.", 3), counterBy("runs_total", "Runs.", "outcome", { 'a"b\n\\': 2 })]),
      [
        "# HELP tributary_depth How deep.",
        "# TYPE tributary_depth gauge",
        "tributary_depth 3",
        "# HELP tributary_runs_total Runs.",
        "# TYPE tributary_runs_total counter",
        'tributary_runs_total{outcome="a\\"b\\n\\\\"} 2',
        ""
      ].join("\n")
    ))
  it("go on when one source fails", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const metrics = yield* Metrics
        metrics.register(Effect.die(new Error("broken source")))
        metrics.register(Effect.succeed([gauge("depth", "How deep.", 3)]))
        const text = yield* metrics.scrape
        assert.include(text, "tributary_depth 3")
        assert.include(text, "tributary_resident_memory_bytes")
      }).pipe(Effect.provide(Metrics.layer))
    ))
})
