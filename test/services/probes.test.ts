/** Verifiable calls of which nobody knows what came: the app is asked, and nothing is done twice or left out. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { assert, describe, it } from "vitest"
import { connector } from "#domain/connector.ts"
import { contentRef } from "#domain/content.ts"
import { ConnectorId, FlowId, type RunId, StepId } from "#domain/ids.ts"
import { type RunEvent, type RunStatus, sendWithinMillis } from "#domain/run.ts"
import type { TenantScope } from "#domain/scope.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { Deliveries } from "#services/deliveries.ts"
import { Flows } from "#services/flows.ts"
import { deliveryIdOf, runIdOf } from "#services/identities.ts"
import { Ingest } from "#services/ingest.ts"
import { Runs } from "#services/runs.ts"
import { Settings } from "#services/settings.ts"
import { StepCalls } from "#services/step-calls.ts"
import { Transact } from "#services/transact.ts"
import { type Engine, type Fate, quiet, withFolder } from "../support/engine.ts"
import { bookkeeping, callMillis, type Ledger, ledgerManifest, type Script, startLedger } from "../support/ledger.ts"
import { origin, webhook } from "../support/orders.ts"

/** Starts an engine, in which time is the test's, and a ledger that follows the script. */
const world = (script: Script, body: (ledger: Ledger) => Effect.Effect<void, unknown, Engine>) => async () => {
  const ledger = await startLedger(script)
  try {
    await withFolder((start) => start(undefined, TestClock.layer()).runPromise(body(ledger)))
  } finally {
    await ledger.close()
  }
}

interface Booking {
  readonly scope: TenantScope
  readonly runId: RunId
}
const deliver = Effect.fnUntraced(function* (scope: TenantScope, endpointId: string) {
  const reception = yield* (yield* Ingest).at(endpointId)
  assert.strictEqual((yield* reception!.receive(webhook(1))).status, 200)
  yield* quiet
  const { runs } = yield* (yield* Deliveries).explain(scope, deliveryIdOf(endpointId, "vendor-id\ndelivery-1"))
  return { scope, runId: runs[0]!.runId as RunId } satisfies Booking
})

/** Lets time go by, second by second, until the run is in that state. */
const until = Effect.fnUntraced(function* ({ scope, runId }: Booking, wanted: RunStatus) {
  const runs = yield* Runs
  for (;;) {
    yield* quiet
    const { status } = yield* runs.get(scope, runId)
    if (status === wanted) return
    assert.notInclude(["succeeded", "failed", "cancelled", "quarantined", "needs-decision"], status)
    yield* TestClock.adjust("1 second")
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
})

type Tag = RunEvent["_tag"]
const recorded = <T extends Tag>({ scope, runId }: Booking, tag: T) =>
  Effect.map(
    Effect.flatMap(Runs, (runs) => runs.history(scope, runId)),
    (history) =>
      history.flatMap(({ at, event }) => (event._tag === tag ? [{ ...(event as Extract<RunEvent, { readonly _tag: T }>), at }] : []))
  )
const attempts = ({ scope, runId }: Booking) =>
  Effect.map(
    Effect.flatMap(Runs, (runs) => runs.step(scope, runId, "enter")),
    (detail) => detail.attempts
  )
const entered = "5600000001"
const hangs = { enters: true, answer: "hang" } as const
const loses = { enters: false, answer: "reset" } as const
const onlyFirst =
  <A>(what: A) =>
  (number: number) =>
    number === 0 ? what : undefined

describe("a verifiable call", () => {
  it(
    "that timed out and was carried out succeeds by the probe, and is not made again",
    world({ enter: onlyFirst(hangs) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        const [doubt] = yield* recorded(booking, "StepFailed")
        assert.deepInclude(doubt, { definitive: false, attempt: 1 })
        assert.deepInclude(doubt!.error, { kind: "unknown-outcome", code: "timeout" })
        assert.isAtLeast(doubt!.retryAt! - doubt!.at, callMillis)
        assert.strictEqual(ledger.probes.length, 0)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual(ledger.entries, [entered])
        assert.strictEqual(ledger.probes[0]!.headers.authorization, "Bearer token-of-ledger")
        const [call, probe] = yield* attempts(booking)
        assert.deepInclude(call, { attempt: 1, status: "retrying", input: { id: entered } })
        assert.deepInclude(probe, { attempt: 2, status: "succeeded", response: { status: 200, probe: true } })
        assert.deepStrictEqual(probe!.output, { id: entered, number: 0 })
        const after = yield* (yield* Runs).step(scope, booking.runId, "after")
        assert.deepStrictEqual(after.attempts[0]!.output, { id: entered, number: 0 })
        assert.deepInclude((yield* recorded(booking, "StepSucceeded"))[0], { step: StepId.make("enter"), attempt: 2, probe: true })
      })
    )
  )
  it(
    "that broke and was not carried out is made once more, under the same generation",
    world({ enter: onlyFirst(loses) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual([ledger.entries, ledger.calls.length, ledger.probes.length], [[entered], 2, 1])
        const started = yield* recorded(booking, "StepStarted")
        assert.deepStrictEqual(
          started.map(({ attempt, generation }) => [attempt, generation]),
          [
            [1, 1],
            [2, 1]
          ]
        )
      })
    )
  )
  it(
    "is asked about from the input that was kept: evaluated anew, it could be another",
    world({ enter: onlyFirst(hangs) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger)
        const { runId } = yield* deliver(scope, endpointId)
        const published = yield* (yield* Flows).published(scope, FlowId.make("orders-to-ledger"), 1)
        const changed = {
          ...published,
          steps: published.steps.map((step) => ({ ...step, evaluate: () => Effect.succeed({ id: "other" }) }))
        }
        const context = {
          scope,
          runId,
          flow: changed,
          settings: yield* (yield* Settings).chain(scope),
          bindings: {},
          triggering: undefined,
          data: {},
          state: yield* (yield* Runs).get(scope, runId)
        }
        const calls = yield* StepCalls
        const probe = yield* calls.prepare({ ...context, absent: new Set() }, 0)
        const call = yield* calls.prepare({ ...context, absent: new Set(["enter"]) }, 0)
        assert.deepStrictEqual(
          [probe, call].map((prepared) => prepared._tag === "Ready" && [prepared.attempt.request.url, prepared.attempt.request.body]),
          [
            [`${ledger.address}/entries/${entered}`, undefined],
            [`${ledger.address}/entries`, '{"id":"other"}']
          ]
        )
      })
    )
  )
  it(
    "is put before a person when its probes tell nothing, as often as a step is tried, and goes on as decided",
    world({ enter: onlyFirst(hangs), probe: () => ({ status: 202 }) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "needs-decision")
        assert.deepStrictEqual([ledger.calls.length, ledger.probes.length], [1, 3])
        assert.deepStrictEqual(
          (yield* attempts(booking)).map(({ attempt, status, error, retryAt }) => [attempt, status, error?.code, retryAt !== undefined]),
          [
            [1, "retrying", "timeout", true],
            [2, "retrying", "unclear", true],
            [3, "retrying", "unclear", true],
            [4, "undecided", "unclear", false]
          ]
        )
        yield* (yield* Runs).decide(scope, booking.runId, StepId.make("enter"), "repeat", null, origin)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual([ledger.calls.length, ledger.probes.length], [2, 3])
      })
    )
  )
  it(
    "is asked about again when its probe is not answered, and takes an app that is down for no answer",
    world({ enter: onlyFirst(hangs), probe: (number) => (number === 0 ? "reset" : number === 1 ? { status: 503 } : undefined) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger, {
          manifest: ledgerManifest({ absent: { not: { path: "status", eq: 200 } } })
        })
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual([ledger.entries, ledger.probes.length], [[entered], 3])
      })
    )
  )
  it(
    "waits for its own connection when the probe's credentials are refused, and goes on to ask",
    world({ enter: onlyFirst(hangs), probe: (number) => (number === 0 ? { status: 401 } : undefined) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId, connectionId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "parked")
        const refused = (yield* recorded(booking, "StepFailed")).at(-1)!
        assert.deepInclude(refused, { definitive: false, probe: true })
        assert.strictEqual(refused.error.kind, "credentials")
        yield* (yield* Connections).rotate(scope, connectionId, { token: Redacted.make("token-2-of-ledger") }, origin)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual([ledger.entries, ledger.calls.length], [[entered], 1])
        assert.strictEqual(ledger.probes.at(-1)!.headers.authorization, "Bearer token-2-of-ledger")
      })
    )
  )
  it(
    "is put before a person at once when its connection was revoked: another account knows nothing of it",
    world({ enter: onlyFirst(hangs) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId, connectionId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        yield* (yield* Connections).revoke(scope, connectionId, "by the test", origin)
        yield* until(booking, "needs-decision")
        assert.strictEqual(ledger.probes.length, 0)
        assert.deepInclude((yield* attempts(booking)).at(-1)!.error, { kind: "unknown-outcome", code: "connection-required" })
      })
    )
  )
  it(
    "that was refused for sure is tried again without a probe",
    world({ enter: onlyFirst({ enters: false, answer: { status: 503 } }) }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "succeeded")
        assert.deepStrictEqual([ledger.entries, ledger.calls.length, ledger.probes.length], [[entered], 2, 0])
      })
    )
  )
  it(
    "fails for sure when its last attempt was not carried out",
    world({ enter: () => loses }, (ledger) =>
      Effect.gen(function* () {
        const { scope, endpointId } = yield* bookkeeping(ledger, { retry: "{ attemptsMax: 2, backoffMillis: 10, backoffMaxMillis: 50 }" })
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "failed")
        assert.deepStrictEqual([ledger.calls.length, ledger.probes.length], [2, 2])
        const last = (yield* recorded(booking, "StepFailed")).at(-1)!
        assert.deepInclude(last, { definitive: true, probe: true })
        assert.strictEqual(last.error.code, "absent")
      })
    )
  )
  it(
    "whose probe was taken out of the manifest is put before a person",
    world({ enter: onlyFirst(hangs) }, (ledger) =>
      Effect.gen(function* () {
        const { space, scope, endpointId } = yield* bookkeeping(ledger)
        const booking = yield* deliver(scope, endpointId)
        const unsafe = ledgerManifest(null).replace('"verifiable"', '"unsafe"')
        yield* (yield* Connectors).publish(space, unsafe, origin)
        yield* until(booking, "needs-decision")
        assert.deepStrictEqual([ledger.calls.length, ledger.probes.length], [1, 0])
      })
    )
  )
  it(
    "is put before a person at once where a stored manifest names no probe, as if it were unsafe",
    world({ enter: onlyFirst(hangs) }, (ledger) =>
      Effect.gen(function* () {
        const { space, scope, endpointId } = yield* bookkeeping(ledger)
        const stored = {
          _tag: "PublishConnector" as const,
          connectorId: ConnectorId.make("ledger"),
          name: "Ledger",
          manifest: contentRef("connector-ledger", "before"),
          contentHash: "before"
        }
        const contents = [{ slot: "before", bytes: ledgerManifest(null) }]
        yield* (yield* Transact).transact(connector, space, "ledger", stored, { origin, contents })
        const booking = yield* deliver(scope, endpointId)
        yield* until(booking, "needs-decision")
        assert.deepStrictEqual([ledger.calls.length, ledger.probes.length], [1, 0])
        assert.deepStrictEqual(yield* recorded(booking, "StepFailed"), [])
      })
    )
  )
  it("succeeds by the probe when the process died between the call and its record, and is not asked about too early", async () => {
    const ledger = await startLedger()
    try {
      await withFolder(async (start) => {
        const called = Promise.withResolvers<void>()
        const buried = Promise.withResolvers<void>()
        const dies: Fate = (what, effect) =>
          what === "append"
            ? effect
            : Effect.andThen(
                Effect.tap(effect, () => Effect.sync(called.resolve)),
                Effect.andThen(
                  Effect.promise(() => buried.promise),
                  Effect.die("buried")
                )
              )
        const first = start(dies, TestClock.layer())
        const { scope, endpointId } = await first.runPromise(bookkeeping(ledger))
        const delivered = first.runPromise(deliver(scope, endpointId)).catch(() => {})
        await called.promise
        const second = start(undefined, TestClock.layer())
        await second.runPromise(
          Effect.gen(function* () {
            const deliveryId = deliveryIdOf(endpointId, "vendor-id\ndelivery-1")
            const booking = { scope, runId: runIdOf(deliveryId, "orders-to-ledger", "route") }
            yield* until(booking, "succeeded")
            const [doubt] = yield* recorded(booking, "StepFailed")
            assert.deepInclude(doubt!.error, { kind: "unknown-outcome", code: "interrupted" })
            assert.isAtLeast(doubt!.retryAt! - doubt!.at, sendWithinMillis + callMillis)
          })
        )
        assert.deepStrictEqual([ledger.entries, ledger.told], [[entered], ["found"]])
        buried.resolve()
        await delivered
      })
    } finally {
      await ledger.close()
    }
  })
})

describe("an idempotent call in doubt", () => {
  it(
    "keeps its key when what was to repeat it could not be built: it may have had its effect",
    world({ enter: onlyFirst(loses) }, (ledger) =>
      Effect.gen(function* () {
        const idempotent = ledgerManifest(null).replace('"verifiable"', '"idempotent","idempotencyHeader":"idempotency-key"')
        const demanding = idempotent.replace('"body":"input"', '"body":"input","input":{"required":["more"]}')
        const { space, scope, endpointId } = yield* bookkeeping(ledger, { manifest: idempotent })
        const booking = yield* deliver(scope, endpointId)
        const connectors = yield* Connectors
        yield* connectors.publish(space, demanding, origin)
        yield* until(booking, "failed")
        assert.deepInclude((yield* recorded(booking, "StepFailed")).at(-1), { attempt: 2, definitive: false })
        yield* connectors.publish(space, `${idempotent} `, origin)
        yield* (yield* Runs).retry(scope, booking.runId, origin)
        yield* until(booking, "succeeded")
        const keys = ledger.calls.map(({ headers }) => headers["idempotency-key"])
        assert.deepStrictEqual([keys.length, new Set(keys).size], [2, 1])
      })
    )
  )
})
