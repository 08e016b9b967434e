import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { checkFlow, type FlowSurroundings, type References } from "#domain/flow-check.ts"
import {
  dependenciesOf,
  expressionsOf,
  type FlowDocument,
  flowDocumentBytesMax,
  flowStepsMax,
  orderOf,
  readFlowDocument
} from "#domain/flow-document.ts"
import { type Manifest, readManifest } from "#domain/manifest.ts"

const manifests: Readonly<Record<string, Manifest>> = Object.fromEntries(
  [
    {
      id: "shop",
      name: "Shop",
      auth: { none: { kind: "none" } },
      webhook: {
        signature: { algorithm: "hmac-sha256", parts: ["body"], headers: ["x-s"], encoding: "hex" },
        event: { header: "x-topic" }
      },
      triggers: [{ event: "orders/create" }, { event: "orders/paid" }]
    },
    {
      id: "erp",
      name: "ERP",
      baseUrl: "https://erp.example.com",
      auth: { none: { kind: "none" } },
      actions: {
        createOrder: {
          method: "POST",
          path: "/orders",
          body: "input",
          effect: "unsafe",
          input: { type: "object", required: ["id", "customer"], properties: { customer: { type: "object", required: ["name"] } } }
        }
      }
    }
  ].map((manifest) => [manifest.id, Result.getOrThrow(readManifest(manifest))])
)

/** Enough of an expression reader for these tests: names and paths, and one text that does not parse. */
const references = (text: string): References =>
  text === "((("
    ? { invalid: "Expected an expression", at: 3 }
    : { paths: (text.match(/[a-z]\w*(?:\.\w+)*/gu) ?? []).map((path) => path.split(".")) }
const surroundings: FlowSurroundings = {
  manifest: (connectorId) => manifests[connectorId],
  references,
  documentBytes: 1000
}
const transform = (id: string, expression: string, more: object = {}) => ({ id, kind: "transform", expression, ...more })
const action = (id: string, input: object, more: object = {}) => ({
  id,
  kind: "action",
  connector: "erp",
  action: "createOrder",
  input,
  ...more
})
const flow = (steps: ReadonlyArray<object>, trigger: object = { connector: "shop", event: "orders/create" }) => ({
  id: "orders",
  trigger,
  steps
})
const read = (document: unknown): FlowDocument =>
  Result.getOrThrowWith(readFlowDocument(document), (findings) => new Error(JSON.stringify(findings)))
const problems = (document: unknown, around: Partial<FlowSurroundings> = {}) => checkFlow(read(document), { ...surroundings, ...around })
const pointers = (document: unknown, around: Partial<FlowSurroundings> = {}) => problems(document, around).map(({ pointer }) => pointer)
const good = [transform("order", "trigger.body.id"), action("send", { id: "= steps.order.output.id", customer: { name: "x" } })]

describe("a flow's document", () => {
  it("is fine as it should be", () => assert.deepStrictEqual(problems(flow(good)), []))
  it("may want all events of a connector", () => assert.deepStrictEqual(pointers(flow(good, { connector: "shop", event: "*" })), []))

  const cases: ReadonlyArray<readonly [string, object, ReadonlyArray<string>]> = [
    ["an unknown connector in the trigger", flow(good, { connector: "nope", event: "x" }), ["/trigger/connector"]],
    ["an unknown event", flow(good, { connector: "shop", event: "orders/lost" }), ["/trigger/event"]],
    ["a trigger of a connector without any", flow(good, { connector: "erp", event: "*" }), ["/trigger/connector"]],
    ["an unknown connector in a step", flow([action("a", {}, { connector: "nope" })]), ["/steps/0/connector"]],
    ["an unknown action", flow([action("a", {}, { action: "fly" })]), ["/steps/0/action"]],
    ["an action called like a part of JavaScript", flow([action("a", {}, { action: "constructor" })]), ["/steps/0/action"]],
    ["missing properties, also nested ones", flow([action("a", { customer: {} })]), ["/steps/0/input/id", "/steps/0/input/customer/name"]],
    ["a name used twice", flow([transform("a", "1"), transform("a", "2")]), ["/steps/1/id"]],
    ["an unknown step in an expression", flow([transform("a", "steps.ghost.output")]), ["/steps/0/expression"]],
    ["an unknown step in an input", flow([action("a", { id: "= steps.ghost.output", customer: "= trigger.body" })]), ["/steps/0/input/id"]],
    ["an unknown step in after", flow([transform("a", "1", { after: ["ghost"] })]), ["/steps/0/after/0"]],
    ["something of a step besides its output", flow([...good, transform("b", "steps.order.error")]), ["/steps/2/expression"]],
    ["steps that it does not name", flow([...good, transform("b", "steps")]), ["/steps/2/expression"]],
    ["something that a trigger has not", flow([transform("a", "trigger.payload")]), ["/steps/0/expression"]],
    ["a name that does not exist", flow([transform("a", "event.body")]), ["/steps/0/expression"]],
    ["an expression that does not parse", flow([transform("a", "(((")]), ["/steps/0/expression"]],
    [
      "several at once",
      flow([transform("a", "((("), action("a", {})]),
      ["/steps/1/id", "/steps/1/input/id", "/steps/1/input/customer", "/steps/0/expression"]
    ],
    ["a circle by references", flow([transform("a", "steps.b.output"), transform("b", "steps.a.output")]), ["/steps/0"]],
    ["a step that waits for itself", flow([transform("a", "1", { after: ["a"] })]), ["/steps/0"]]
  ]
  for (const [what, document, expected] of cases)
    it(`is refused for ${what}, where it is`, () => assert.deepStrictEqual(pointers(document), expected))

  it("is told what exists instead", () => {
    const [ghost] = problems(flow([transform("a", "steps.ghost.output")]))
    assert.include(ghost!.message, "no such step")
    assert.include(ghost!.message, "Steps of this flow: a")
    const [circle] = problems(flow([transform("a", "steps.b.output"), transform("b", "steps.a.output")]))
    assert.include(circle!.message, "a after b after a")
  })
  it("may read steps without naming them when it says what it comes after", () =>
    assert.deepStrictEqual(pointers(flow([...good, transform("b", "steps", { after: ["order"] })])), []))
  it("has bounds", () => {
    const many = Array.from({ length: flowStepsMax + 1 }, (_, index) => transform(`s${index}`, "1"))
    assert.deepStrictEqual(pointers(flow(many)), ["/steps"])
    assert.deepStrictEqual(pointers(flow(many.slice(1))), [])
    assert.deepStrictEqual(pointers(flow(good), { documentBytes: flowDocumentBytesMax + 1 }), [""])
  })
  it("refuses step kinds that do not exist by their name, with those that do", () => {
    const read = readFlowDocument(flow([{ id: "a", kind: "forEach", items: [] }, transform("b", "1", { colour: 1 })]))
    assert.deepStrictEqual(
      Result.getOrElse(Result.flip(read), () => []).map(({ pointer }) => pointer),
      ["/steps/0/kind", "/steps/1/colour"]
    )
    const [kind] = Result.getOrElse(Result.flip(read), () => [])
    assert.include(kind!.message, '"forEach"')
    assert.include(kind!.message, "transform, action")
  })
  it("never reads a prototype", () => {
    for (const text of [
      '{"__proto__":{"id":"x"}}',
      '{"id":"a","trigger":{"connector":"shop","event":"*"},"steps":[{"__proto__":{"kind":"transform"}}]}'
    ])
      assert.isTrue(Result.isFailure(readFlowDocument(JSON.parse(text))))
  })
})

describe("a flow's order", () => {
  it("has each step after those that it waits for, and keeps the written order otherwise", () => {
    const document = read(
      flow([transform("d", "1", { after: ["c"] }), transform("a", "1"), transform("b", "1"), transform("c", "1", { after: ["a", "b"] })])
    )
    assert.deepStrictEqual(orderOf(dependenciesOf(document, () => [])), { order: [1, 2, 3, 0] })
  })
  it("takes references as waiting", () => {
    const document = read(flow([transform("late", "steps.early.output"), transform("early", "1")]))
    const needs = dependenciesOf(document, (step) => (step === 0 ? ["early"] : []))
    assert.deepStrictEqual(needs, [[1], []])
    assert.deepStrictEqual(orderOf(needs), { order: [1, 0] })
  })
  it("names a circle", () => assert.deepStrictEqual(orderOf([[], [2], [3], [1], [3]]), { cycle: [1, 2, 3] }))
})

describe("a flow's expressions", () => {
  it("are found wherever they are written", () => {
    const document = read(flow([transform("a", "= trigger.body"), action("b", { list: ["= a", "plain", { deep: "= b" }], "x/y": "=not" })]))
    assert.deepStrictEqual(
      expressionsOf(document).map(({ step, path, text }) => [step, path.join("."), text]),
      [
        [0, "steps.0.expression", "trigger.body"],
        [1, "steps.1.input.list.0", "a"],
        [1, "steps.1.input.list.2.deep", "b"]
      ]
    )
  })
})
