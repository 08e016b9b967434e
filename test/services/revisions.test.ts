/** Changes that expect a revision: through `transact`, whatever happens meanwhile. */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, assert, describe, it } from "vitest"
import type { EventId, SpaceKey } from "#domain/ids.ts"
import type { Origin } from "#domain/recorded.ts"
import { spaceScope, streamName } from "#domain/scope.ts"
import { space as spaceAggregate } from "#domain/space.ts"
import { Journal } from "#services/ports/journal.ts"
import { RevisionMismatch, Transact } from "#services/transact.ts"
import { embedded } from "../support/embedded.ts"

const runtime = ManagedRuntime.make(embedded)
afterAll(() => runtime.dispose())

const origin: Origin = { actor: { kind: "key", id: "aaaabbbbcccc" } }
let made = 0
/** A space at revision 0, and how to rename it. */
const fresh = Effect.gen(function* () {
  const scope = spaceScope(`saaaabbbbccccdddde${"abcdefghij"[made++]}e` as SpaceKey)
  const { read, transact } = yield* Transact
  yield* transact(spaceAggregate, scope, "self", { _tag: "CreateSpace", spaceKey: scope.space, name: "One" }, { origin })
  const rename = (name: string, ifRevision: number | undefined, from = origin) =>
    transact(spaceAggregate, scope, "self", { _tag: "RenameSpace", name }, { origin: from, ifRevision })
  return { scope, rename, stands: read(spaceAggregate, scope, "self") }
})
const run = <A, E>(effect: Effect.Effect<A, E, Transact | Journal>) => runtime.runPromise(effect)

describe("an expected revision", () => {
  it("lets the change through that was decided on it", () =>
    run(
      Effect.gen(function* () {
        const { rename } = yield* fresh
        assert.strictEqual((yield* rename("Two", 0)).revision, 1)
        assert.strictEqual((yield* rename("Three", undefined)).revision, 2)
      })
    ))
  it("stops any other, says what is there, and writes nothing", () =>
    run(
      Effect.gen(function* () {
        const { rename, stands } = yield* fresh
        yield* rename("Two", 0)
        const refused = yield* Effect.flip(rename("Three", 0))
        assert.deepStrictEqual(refused, new RevisionMismatch({ expected: 0, revision: 1 }))
        assert.strictEqual((yield* stands).revision, 1)
      })
    ))
  it("stops a change that would change nothing all the same", () =>
    run(
      Effect.gen(function* () {
        const { rename } = yield* fresh
        yield* rename("Two", 0)
        assert.instanceOf(yield* Effect.flip(rename("Two", 0)), RevisionMismatch)
      })
    ))
  it("of -1 means that there is nothing yet", () =>
    run(
      Effect.gen(function* () {
        const { rename } = yield* fresh
        assert.include((yield* Effect.flip(rename("Two", -1))).message, "revision 0")
      })
    ))
  it("yields to a repeat of what was done", () =>
    run(
      Effect.gen(function* () {
        const { rename } = yield* fresh
        const keyed = { ...origin, commandId: "c", commandHash: "h" }
        yield* rename("Two", 0, keyed)
        assert.isTrue((yield* rename("Two", 0, keyed)).repeated)
      })
    ))
  it("is looked at again after somebody else's append", () =>
    run(
      Effect.gen(function* () {
        const { scope, rename } = yield* fresh
        const { append } = yield* Journal
        const event = { id: "00000000000000000000000001" as EventId, type: "SpaceRenamed", version: 1, data: '{"name":"Theirs"}' }
        yield* append({
          scope,
          stream: streamName(scope, "space-self"),
          expected: 0,
          events: [event],
          contents: [],
          origin,
          at: 0
        })
        assert.deepStrictEqual(yield* Effect.flip(rename("Ours", 0)), new RevisionMismatch({ expected: 0, revision: 1 }))
      })
    ))
  it("lets one of many through that expect the same", () =>
    run(
      Effect.gen(function* () {
        const { rename, stands } = yield* fresh
        const outcomes = yield* Effect.forEach([1, 2, 3, 4, 5], (number) => Effect.result(rename(`Name ${number}`, 0)), { concurrency: 5 })
        assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Success").length, 1)
        assert.strictEqual((yield* stands).revision, 1)
      })
    ))
})
