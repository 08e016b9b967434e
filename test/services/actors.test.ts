import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import type { SpaceKey } from "#domain/ids.ts"
import { type LocalName, type StreamName, spaceScope, streamName } from "#domain/scope.ts"
import { Actors, limits } from "#services/actors.ts"

const scope = spaceScope("saaaabbbbccccddddeee" as SpaceKey)
const stream = (index: number | string): StreamName => streamName(scope, `run-${index}` as LocalName)

/** Takes the turn and gives it back with the state loaded, as a read does. */
const use = (actors: Actors, name: StreamName) => {
  const actor = actors.of(name, null)
  actors.enter(scope, actor)
  actor.loaded = true
  actors.leave(name, actor)
  return actor
}

describe("actors", () => {
  it("stay within their bound, those that were used last among them", () => {
    const actors = new Actors()
    for (let index = 0; index < limits.cachedStreams * 2; index++) use(actors, stream(index))
    assert.isAtMost(actors.size, limits.cachedStreams)
    const last = Array.from({ length: limits.cachedStreams / 2 }, (_, index) => stream(limits.cachedStreams * 1.5 + index))
    assert.isTrue(last.every((name) => actors.settled(name) !== undefined))
    assert.isUndefined(actors.settled(stream(0)))
  })

  it("stay the same while they are used, whatever else comes", () => {
    const actors = new Actors()
    const kept = use(actors, stream("kept"))
    for (let index = 0; index < limits.cachedStreams * 2; index++) {
      use(actors, stream(index))
      if (index % 10_000 === 0) assert.strictEqual(actors.settled(stream("kept")), kept)
    }
  })

  it("stay the same while somebody works on them", () => {
    const actors = new Actors()
    const busy = actors.of(stream("busy"), null)
    actors.enter(scope, busy)
    for (let index = 0; index < limits.cachedStreams * 3; index++) use(actors, stream(index))
    assert.strictEqual(actors.of(stream("busy"), null), busy)
  })

  it("are loaded anew for whoever comes next when they are forgotten while somebody changes them, and once alone", () => {
    const actors = new Actors()
    const busy = actors.of(stream("busy"), null)
    actors.enter(scope, busy)
    Object.assign(busy, { loaded: true, revision: 3 })
    Effect.runFork(actors.enter(scope, busy)!)
    actors.forget(stream("busy"))
    assert.strictEqual(actors.of(stream("busy"), null), busy)
    actors.leave(stream("busy"), busy)
    assert.isFalse(busy.loaded)
    busy.loaded = true
    actors.leave(stream("busy"), busy)
    assert.strictEqual(actors.settled(stream("busy")), busy)
  })

  it("leave room for others when they are forgotten at once", () => {
    const actors = new Actors()
    use(actors, stream("rarely used"))
    for (let index = 0; index < limits.cachedStreams * 2; index++) {
      use(actors, stream(index))
      actors.forget(stream(index))
    }
    assert.isDefined(actors.settled(stream("rarely used")))
  })

  it("are gone when an event overtakes them, and when they are forgotten, in either generation", () => {
    const actors = new Actors()
    for (const name of ["overtaken", "forgotten"]) use(actors, stream(name))
    for (let index = 0; index < limits.cachedStreams / 2; index++) use(actors, stream(index))
    assert.isTrue(actors.overtake(stream("overtaken"), 0))
    actors.forget(stream("forgotten"))
    for (const name of ["overtaken", "forgotten"]) assert.isUndefined(actors.settled(stream(name)))
  })
})
