import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { assert, describe, it } from "vitest"
import { enablement, enablementId } from "#domain/enablement.ts"
import type { EventId } from "#domain/ids.ts"
import { streamName } from "#domain/scope.ts"
import { Ingest } from "#services/ingest.ts"
import { Journal } from "#services/ports/journal.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { Transact } from "#services/transact.ts"
import { engineLayer } from "../support/engine.ts"
import { customer, origin, publishOrders, webhook } from "../support/orders.ts"

describe("work that this release cannot read", () => {
  it("is left open for a release that can, and not put aside as a defect", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tributary-test-"))
    const said = Deferred.makeUnsafe<string>()
    const listening = Logger.layer([Logger.make(({ message }) => void Deferred.doneUnsafe(said, Effect.succeed(String(message))))])
    const engine = ManagedRuntime.make(Layer.provideMerge(engineLayer(folder), listening))
    try {
      await engine.runPromise(
        Effect.gen(function* () {
          const { space, flowId } = yield* publishOrders()
          const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", null)
          const { append } = yield* Journal
          const { forget, read } = yield* Transact
          const { revision } = yield* read(enablement, scope, enablementId)
          const local = `enablement-${enablementId}` as const
          yield* append({
            scope,
            stream: streamName(scope, local),
            expected: revision,
            events: [{ id: randomUUID() as EventId, type: "FlowEnabled", version: 99, data: "{}" }],
            contents: [],
            origin,
            at: 0
          })
          forget(scope, local)
          const reception = yield* (yield* Ingest).at(endpointId)
          assert.strictEqual((yield* reception!.receive(webhook(1))).status, 200)
          assert.match(yield* Deferred.await(said), /waits for a release that can read it: .*delivery-.*FlowEnabled up to version 1/u)
          assert.strictEqual((yield* (yield* OpenWork).summary).open, 1)
        })
      )
    } finally {
      await engine.dispose()
      rmSync(folder, { recursive: true })
    }
  })
})
