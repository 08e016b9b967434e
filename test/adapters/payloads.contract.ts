/** What every `Payloads` keeps: content comes back whole, to its own scope, stream and slot alone. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { type ContentRef, contentRef } from "#domain/content.ts"
import { localNameOf } from "#domain/scope.ts"
import { type Append, Journal, type NewContent } from "#services/ports/journal.ts"
import { Payloads } from "#services/ports/payloads.ts"
import { acme, appendOf, fresh, happened, type Installation, other, shared, space } from "./installation.ts"

const put = Effect.fnUntraced(function* (contents: ReadonlyArray<NewContent>, scope: Append["scope"] = acme) {
  const given = appendOf(scope, fresh("delivery"), { contents })
  yield* (yield* Journal).append(given)
  return { given, ref: (slot: string) => contentRef(localNameOf(given.stream), slot) }
})
const open = (scope: typeof acme | typeof space, ...refs: ReadonlyArray<ContentRef>) =>
  Effect.flatMap(Payloads, (payloads) => payloads.open(scope, refs))
const whyGone = (scope: typeof acme, ref: ContentRef) =>
  Effect.map(Effect.result(open(scope, ref)), (result) => {
    const failure = Result.getFailure(result).valueOrUndefined
    return failure?._tag === "ContentGone" && failure.ref === ref ? failure.why : failure
  })
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("utf8")

export const payloadsContract = (name: string, make: () => Installation) =>
  describe(`Payloads: ${name}`, () => {
    const run = shared(make())

    it("opens text and bytes as they were, in the order asked, the same one twice too", () =>
      run(
        Effect.gen(function* () {
          const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 251)
          const { ref } = yield* put([
            { slot: "text", bytes: "grüße \u0000 𝒳" },
            { slot: "empty", bytes: "" },
            { slot: "bytes", bytes }
          ])
          const opened = yield* open(acme, ref("bytes"), ref("text"), ref("empty"), ref("text"))
          assert.deepStrictEqual(Uint8Array.from(opened[0]!), bytes)
          assert.deepStrictEqual(opened.slice(1).map(text), ["grüße \u0000 𝒳", "", "grüße \u0000 𝒳"])
        })
      ))

    it("opens nothing for nothing", () => run(Effect.map(open(acme), (opened) => assert.deepStrictEqual(opened, []))))

    it("keeps the contents of many appends apart, also of those that are written together", () =>
      run(
        Effect.gen(function* () {
          const numbers = Array.from({ length: 100 }, (_, index) => index)
          const written = yield* Effect.forEach(
            numbers,
            (n) =>
              put([
                { slot: "in", bytes: `in ${n}` },
                { slot: "out", bytes: `out ${n}` }
              ]),
            {
              concurrency: "unbounded"
            }
          )
          const opened = yield* open(acme, ...written.flatMap(({ ref }) => [ref("out"), ref("in")]))
          assert.deepStrictEqual(
            opened.map(text),
            numbers.flatMap((n) => [`out ${n}`, `in ${n}`])
          )
        })
      ))

    it("finds the content of each of a stream's appends", () =>
      run(
        Effect.gen(function* () {
          const { given, ref } = yield* put([{ slot: "first", bytes: "1" }])
          const more = { ...given, expected: 0, events: [happened(), happened()], contents: [{ slot: "second", bytes: "2" }] }
          yield* (yield* Journal).append(more as unknown as Append)
          assert.deepStrictEqual((yield* open(acme, ref("second"), ref("first"))).map(text), ["2", "1"])
        })
      ))

    it("takes the bytes as they are when the append is called", () =>
      run(
        Effect.gen(function* () {
          const pool = Buffer.from("[before][mine][after]")
          const { ref } = yield* put([{ slot: "body", bytes: pool.subarray(8, 14) }])
          assert.strictEqual(text((yield* open(acme, ref("body")))[0]!), "[mine]")
        })
      ))

    it("gives content to its own scope alone", () =>
      run(
        Effect.gen(function* () {
          const { ref } = yield* put([{ slot: "body", bytes: "acme's" }])
          assert.strictEqual(yield* whyGone(other, ref("body")), "absent")
          const own = yield* put([{ slot: "body", bytes: "the space's" }], space)
          assert.strictEqual(text((yield* open(space, own.ref("body")))[0]!), "the space's")
          assert.strictEqual(yield* whyGone(acme, own.ref("body")), "absent")
        })
      ))

    it("says which content is absent", () =>
      run(
        Effect.gen(function* () {
          const { ref } = yield* put([{ slot: "body", bytes: "there" }])
          assert.strictEqual(yield* whyGone(acme, ref("bod")), "absent")
          assert.strictEqual(yield* whyGone(acme, contentRef("delivery-never", "body")), "absent")
          const result = yield* Effect.result(open(acme, ref("body"), ref("other")))
          assert.deepInclude(Result.getFailure(result).valueOrUndefined, { _tag: "ContentGone", ref: ref("other"), why: "absent" })
        })
      ))

    it("says that content went with its retired stream", () =>
      run(
        Effect.gen(function* () {
          const { given, ref } = yield* put([{ slot: "body", bytes: "there" }])
          yield* (yield* Journal).retire(acme, given.stream, 0)
          assert.strictEqual(yield* whyGone(acme, ref("body")), "retired")
        })
      ))
  })
