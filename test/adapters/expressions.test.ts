/** Expressions: what they compute, what they read, what they may not do, and that one hostile expression costs a bounded amount (A7). */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import jsonata from "jsonata"
import { assert, describe, it } from "vitest"
import { layer, layerWith } from "#adapters/jsonata/expressions.ts"
import { defaultLimits } from "#adapters/jsonata/limits.ts"
import { Expressions } from "#services/ports/expressions.ts"

const compile = (expression: string) =>
  Effect.runPromise(Effect.flatMap(Expressions, ({ compile }) => Effect.result(compile(expression))).pipe(Effect.provide(layer)))

const compiled = async (expression: string) => Result.getOrThrow(await compile(expression))
const evaluate = async (expression: string, input: Record<string, unknown> = {}) =>
  Effect.runPromise(Effect.result((await compiled(expression)).evaluate(input)))
const value = async (expression: string, input: Record<string, unknown> = {}) => Result.getOrThrow(await evaluate(expression, input))
const failure = async (expression: string, input: Record<string, unknown> = {}) => {
  const result = await evaluate(expression, input)
  return Result.isFailure(result) ? result.failure : assert.fail(`${expression} gave ${JSON.stringify(result.success)?.slice(0, 200)}`)
}

const order = {
  id: 5600000001,
  email: "Ana@Example.test",
  total_price: "60.70",
  customer: { first_name: "Ana", last_name: "Muster" },
  line_items: [
    { sku: "A", quantity: 2, price: "19.90" },
    { sku: "B", quantity: 1, price: "20.90" }
  ]
}
const input = { trigger: { body: order }, steps: { find: { output: { ok: true } } }, tenant: { id: "acme" }, run: { id: "r1" } }

describe("expressions", () => {
  it("map an order as JSONata does", async () => {
    const mapping = `{
      "id": $string(trigger.body.id),
      "email": $lowercase(trigger.body.email),
      "total": $number(trigger.body.total_price) * 1.2,
      "name": trigger.body.customer.(first_name & " " & last_name),
      "units": $sum(trigger.body.line_items.quantity),
      "lines": trigger.body.line_items.{ "sku": sku, "value": $number(price) * quantity },
      "seen": steps.find.output.ok,
      "missing": trigger.body.nothing
    }`
    assert.deepStrictEqual(await value(mapping, input), JSON.parse(JSON.stringify(await jsonata(mapping).evaluate(input))))
    assert.deepStrictEqual((await value("trigger.body.line_items.sku", input)) as unknown, ["A", "B"])
  })

  it("give null for nothing, plain objects and lists, and keep odd names", async () => {
    assert.isNull(await value("steps.unknown", input))
    assert.deepStrictEqual(await value("[a, b]", { a: 1 }), [1])
    const odd = await value("x", { x: JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}') })
    assert.deepStrictEqual(odd, JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}'))
    assert.strictEqual(Object.getPrototypeOf(odd), Object.prototype)
    assert.isUndefined(({} as Record<string, unknown>).polluted)
  })

  it("build objects of many fields", async () => {
    const names = Array.from({ length: 1_000 }, (_, n) => `"f${n}": tenant.id`)
    assert.lengthOf(Object.keys((await value(`{ ${names.join()} }`, input)) as object), 1_000)
  })

  it("leave their input as it was", async () => {
    const before = JSON.stringify(input)
    await value('trigger.body ~> |line_items|{"sku": "changed"}, ["price"]|', input)
    await value("($x := trigger.body.line_items; $append($x, $x); $sort($x.quantity))", input)
    assert.strictEqual(JSON.stringify(input), before)
  })

  it("refuse what does not parse, naming the place", async () => {
    const refused = await compile("trigger.body.(")
    assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ExpressionInvalid" && refused.failure.at !== undefined)
    for (const text of ["", "{", '"open', "1 +", "/a(/", "$x :=", "(".repeat(20_000), "x".repeat(defaultLimits.expressionCharsMax + 1)]) {
      assert.isTrue(Result.isFailure(await compile(text)), text.slice(0, 20))
    }
  })

  it("refuse at once what would make a repetition differ, what hides what it reads, and regular expressions beyond linear time", async () => {
    const refused = [
      "$now()",
      "$millis()",
      "$random()",
      "$shuffle([1,2])",
      "$eval('1')",
      "($e := $eval; $e('1'))",
      "$map(['1'], $eval)",
      "$pad(?, 3)"
    ]
    const patterns = ["$match(a, /(?=b)/)", "$match(a, /(a)\\1/)", "$match(a, /(?<!b)a/)", "$match(a, /(a{30}){30}/)"]
    const signatures = [`function($x)<${"n+".repeat(12)}:n>{1}(1)`, "function($x)<n+n+:n>{1}(1)"]
    for (const text of [...refused, ...patterns, ...signatures]) assert.isTrue(Result.isFailure(await compile(text)), text)
  })

  it("say which paths they read, and never fewer", async () => {
    const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["steps.order.output.total", ["steps.order.output.total"]],
      ['{ "a": trigger.body.id, "b": [tenant.id, run.id] }', ["run.id", "tenant.id", "trigger.body.id"]],
      ["steps.find.output.items[price > 10 and $$.tenant.id = id].sku", ["steps.find.output.items", "tenant.id"]],
      ["trigger.body.items.{ 'x': sku, 'y': $$.steps.find.output }", ["steps.find.output", "trigger.body.items"]],
      ["($o := steps.a.output; $map($o.list, function($i) { $i.x + trigger.n }))", ["steps.a.output", "trigger.n"]],
      ["$.steps.a", ["steps.a"]],
      ["steps.a ? steps.b : steps.c", ["steps.a", "steps.b", "steps.c"]],
      ["steps.a.list^(>price).sku", ["steps.a.list"]],
      ["$count(steps.a.list) > 0 and tenant.id in steps.b.ids", ["steps.a.list", "steps.b.ids", "tenant.id"]],
      ['steps.a ~> |items|{"x": y}|', ["steps.a"]],
      ["`steps`.`a`", ["steps.a"]],
      ["(steps.a; steps.b).c", ["steps.a", "steps.b"]],
      ["$$[steps.a = 1].steps.b", ["steps.a", "steps.b"]],
      ["trigger@$t.steps.a", ["", "trigger.steps.a"]],
      ["steps.a.%.b", ["", "steps.a"]],
      ["steps.*.output", ["steps"]],
      ["**.id", [""]],
      ["*", [""]],
      ["$$", [""]],
      ["$$.{ 'x': steps.a }", [""]],
      ["$string($)", [""]],
      ["1 + 2", []]
    ]
    for (const [text, expected] of cases) {
      const { references } = await compiled(text)
      assert.deepStrictEqual(references.map((path) => path.join(".")).sort(), expected, text)
    }
  })

  it("do not mix concurrent evaluations of one compiled expression", async () => {
    const shared = await compiled(
      "($id := tenant.id; $all := $map([1..20], function($n) { $id & $$.tenant.id & $n }); { 'id': $id, 'same': $distinct($all.$substring(0, 8)), 'm': $match($id, /t(\\d+)/).groups[0] })"
    )
    const ids = Array.from({ length: 200 }, (_, n) => `t${1000 + n}`)
    const results = await Effect.runPromise(Effect.forEach(ids, (id) => shared.evaluate({ tenant: { id } }), { concurrency: "unbounded" }))
    for (const [n, id] of ids.entries()) {
      assert.deepStrictEqual(results[n], { id, same: `${id}${id}`.slice(0, 8), m: id.slice(1) }, id)
    }
  })

  it("search with regular expressions as JavaScript does, where both can", async () => {
    const texts = ["ana@example.com, bo@example.org", "2026-11-20T09:14:07", "aXbXc", "", "ÄÖ ünï 😀 x"]
    const patterns = [
      "/[a-z]+@([a-z]+)\\.(com|org)/",
      "/(\\d{4})-(\\d\\d)/",
      "/x/i",
      "/^a/m",
      "/[äö]+/i",
      "/\\w+/",
      "/(b)|(c)/",
      "/😀/",
      "/\\//"
    ]
    for (const text of texts) {
      for (const pattern of patterns) {
        for (const call of [
          `$match(text, ${pattern})`,
          `$replace(text, ${pattern}, "<$1>")`,
          `$split(text, ${pattern})`,
          `$contains(text, ${pattern})`
        ]) {
          const expected = (await jsonata(call).evaluate({ text })) as unknown
          assert.deepStrictEqual(await value(call, { text }), JSON.parse(JSON.stringify(expected ?? null)), `${call} on ${text}`)
        }
      }
    }
  })

  it("keep the meaning of the functions that they bound", async () => {
    const list = [
      3,
      1,
      2,
      3,
      "b",
      "a",
      "b",
      null,
      null,
      true,
      { a: 1, b: [1] },
      { b: [1], a: 1 },
      { a: 1, b: [2] },
      [1, 2],
      [2, 1],
      [["a", 1]],
      { a: [1] },
      "1",
      1
    ]
    const calls = [
      "$distinct(list)",
      "$distinct(list.a)",
      "$distinct([1])",
      "$sort([3,1,2])",
      '$sort(["b","a","C","é"])',
      "$sort(list.a)",
      "$sort([3,1,2], function($a,$b){$a<$b})",
      '$pad("a", 5)',
      '$pad("a", -5, "xy")',
      '$pad("😀", 6, "😀a")',
      '$pad("abc", 2)',
      '$pad("a", 3.7, "")',
      "$pad(nothing, 3)",
      "$pad(nothing, 3)",
      '$join(["a","b"], "-")',
      '$join(["a"])',
      '$join("a")',
      '$toMillis("2026-11-20")',
      '$toMillis("20 November 2026 09:14", "[D] [MNn] [Y] [H01]:[m01]")',
      '$toMillis("20261120", "[Y0001][M01][D01]")',
      "$fromMillis(0)",
      '$fromMillis(1763629200000, "[D]/[M]/[Y] [h]:[m01] [P]", "+0200")',
      '$formatNumber(1234.5, "#,##0.00")',
      '$formatInteger(42, "w")',
      '$parseInteger("forty-two", "w")',
      '["a","bb"].$pad(4)',
      '$map(["a","b"], $pad)',
      '"b" in ["a","b"]'
    ]
    for (const call of calls) {
      const ours = await evaluate(call, { list })
      const theirs = await jsonata(call)
        .evaluate({ list })
        .then(
          (result: unknown) => ({ result: JSON.parse(JSON.stringify(result ?? null)) as unknown }),
          () => undefined
        )
      assert.deepStrictEqual(Result.isSuccess(ours) ? { result: ours.success } : undefined, theirs, call)
    }
  })

  it("say what failed without the values that it failed on", async () => {
    const failed = await failure("secret + 1", { secret: "s3cret" })
    assert.notInclude(failed.message, "s3cret")
    assert.include(failed.message, "T2001")
    assert.strictEqual((await failure('$error("no stock")')).reason, "no stock (D3137 at 7)")
  })
})

describe("hostile expressions", () => {
  /** Nothing outside of the input may be seen: functions, prototypes, globals, the environment of an evaluation. */
  const escapes = [
    ..."constructor __proto__ prototype toString valueOf hasOwnProperty __defineGetter__ __lookupGetter__ process global globalThis require".split(
      " "
    ),
    ..."constructor.constructor __proto__.constructor trigger.constructor trigger.__proto__ trigger.body.constructor.constructor".split(
      " "
    ),
    ..."$.constructor $$.constructor $$.__proto__ $constructor $__proto__ $process $global $globalThis $require $Function".split(" "),
    ..."$sum.constructor $sum.implementation $sum.signature $sum.* $sum.** $sum.environment $sum._jsonata_function $string.name".split(" "),
    "$lookup(trigger, 'constructor')",
    "$lookup(trigger, '__proto__')",
    "$lookup($sum, 'implementation')",
    "$lookup(function(){1}, 'environment')",
    "function(){1}.environment",
    "(function(){1}).*",
    "[function(){1}].**.lookup",
    "[function(){1}].environment.lookup('x')",
    "$keys($sum)",
    "$each($sum, function($v, $k) { $k })",
    "$spread($sum)",
    "$sift($sum, function($v) { true })",
    "$merge([$sum]).implementation",
    "$merge([function(){1}]).environment",
    "({ 'a': $sum }).a.implementation",
    "[$sum, $max].implementation",
    "($f := $sum; $f.implementation.constructor)",
    "$string.constructor('return process')()",
    "($x := { 'constructor': 1 }; $x.constructor.constructor)",
    "$match('a', /a/).next.constructor",
    "/a/('a').next",
    "/a/.constructor",
    "/a/('a').next.constructor('return process')()",
    "'a'.constructor",
    "(1).constructor.constructor",
    "[].constructor",
    "[1].push",
    "[1..3].constructor",
    "$clone({}).constructor",
    "$clone($sum)",
    "$ ~> |$|{'__proto__': {'polluted': 1}}|",
    "{'__proto__': {'polluted': 1}}.polluted",
    "$merge([{'__proto__': {'polluted': 1}}]).polluted",
    "trigger ~> |$|{'constructor': $sum}|",
    "($sum ~> |$|{'implementation': 1}|)",
    "{ '_jsonata_lambda': true, 'body': 1 }()",
    "{ '_jsonata_function': true, 'implementation': $sum }(1)",
    "trigger.fake(1)",
    "trigger.fake.implementation(1)",
    "$map([1], trigger.fake)",
    "$reduce([1,2], trigger.fake)",
    "$sort([2,1], trigger.fake)",
    "$$.then($sum)",
    "$toMillis.constructor",
    "$error(constructor)",
    "$assert(false, $string($sum.constructor))",
    "$type($sum.constructor)",
    "%.constructor",
    "$.%.%",
    "trigger@$t#$i.$t.constructor"
  ]

  it("see nothing but their input", async () => {
    assert.isAtLeast(escapes.length, 60)
    const canary = "canary-3f9a"
    Object.assign(globalThis, { canary })
    process.env.TRIBUTARY_TEST_CANARY = canary
    const inner = { trigger: { body: { id: 1 }, fake: { implementation: "x", body: { type: "string", value: "x" } } } }
    const known = JSON.stringify(inner)
    for (const text of escapes) {
      const built = await compile(text)
      if (Result.isFailure(built)) continue
      const result = await Effect.runPromise(Effect.result(built.success.evaluate(inner)))
      const seen = Result.isSuccess(result) ? JSON.stringify(result.success) : result.failure.message
      assert.notMatch(seen, /canary|native code|function\(|=>/, text)
      for (const [word] of Result.isSuccess(result) ? seen.matchAll(/[a-zA-Z]{2,}/g) : []) {
        assert.isTrue(known.includes(word) || text.includes(word) || ["null", "undefined"].includes(word), `${text} gave ${seen}`)
      }
    }
    assert.isUndefined(({} as Record<string, unknown>).polluted)
  })

  it("cannot use data that poses as a function", async () => {
    for (const fake of [
      { _jsonata_lambda: true, body: {} },
      { _jsonata_function: true, implementation: 1 }
    ]) {
      assert.include((await failure("trigger.fake(1)", { trigger: { fake } })).reason, "_jsonata_")
    }
  })

  it("cannot give out a function", async () => {
    for (const text of ["$sum", "function(){1}", "[1, $sum]", "{ 'a': function(){1} }", "/a/", "/a/('a')", "$sum ~> $string"]) {
      assert.include((await failure(text)).reason, "function", text)
    }
  })

  const large = { text: "a".repeat(200_000), list: Array.from({ length: 9_000 }, (_, n) => n), deep: { a: { b: [1, 2, 3] } } }
  const bombs: ReadonlyArray<readonly [string, string | undefined]> = [
    ["($f := function($n) { $f($n + 1) }; $f(0))", "some"],
    ["($f := function($n) { 1 + $f($n + 1) }; $f(0))", "depth"],
    ["($f := function($n) { [$f($n + 1)] }; $f(0))", "depth"],
    ["($f := function($x) { $x($x) }; $f($f))", undefined],
    ["[1..10000000]", "sequence"],
    ["[1..100000000000]", "sequence"],
    ["$map([1..10000], function($i) { [1..10000] })", "some"],
    ["$map([1..9999], function($i) { $map([1..9999], function($j) { $i * $j }) })", undefined],
    ["$reduce([1..40], function($a, $i) { $a & $a }, 'xxxxxxxxxx')", "some"],
    ["$reduce([1..40], function($a, $i) { [$a, $a] }, 1)", undefined],
    ["$reduce([1..40], function($a, $i) { {'a': $a, 'b': $a} }, 1)", "some"],
    ["$reduce([1..9000], function($a, $i) { [[$a], [$a]] }, 1)", "some"],
    ["($d := function($a) { $reduce([1..40], function($x, $i) { {'a': $x, 'b': $x} }, $a) }; $d(1) = $d(1))", "some"],
    ["($x := deep; $y := {'a': $x, 'b': $x}; $reduce([1..30], function($z, $i) { $z ~> |$|{'c': $z, 'd': $z}| }, $y))", undefined],
    ["$pad('x', 1000000000)", "some"],
    ["$pad('x', -1000000000)", "some"],
    ["$map([1..10000], function($i) { $pad('x', 100000) })", "some"],
    ["$join($map([1..9000], function() { text }))", "some"],
    ["$join($map([1..9000], function() { 'a' }), text)", "some"],
    ["$replace(text, 'a', text)", "some"],
    ["$replace(text, /a/, text)", undefined],
    ["$split(text, '') ~> $map(function($c) { $c })", "sequence"],
    ["$map([1..9000], function() { $length(text) })", "some"],
    ["$map([1..9000], function() { $substring(text, 1) })", undefined],
    ["$string($map([1..200], function() { text }))", "some"],
    ["list.($$.list.($$.list))", undefined],
    ["list[$ in $$.list]", undefined],
    ["list^(<$string($))", undefined],
    ["$filter(list, function($x) { $count($$.list[$ = $x]) > 0 })", "some"],
    ["$match(text, /(x+x+)+y/)", undefined],
    ["$match(text, /a(.*b)?/)", "some"],
    ["$match(text, /(a|aa)+$/)", undefined],
    ["$match(text, /(a*)*b/)", undefined],
    ["$match(text, /(.*)(.*)(.*)(.*)(.*)x/)", undefined],
    ["$match(text, /^(a?){200}a{200}$/)", undefined],
    ["$replace(text, /(a+)+$/, '')", undefined],
    ["$split(text, /(a|b|ab)*c/)", undefined],
    ["$contains(text, /([a-z]+)*[0-9]/)", undefined],
    ["$map([1..9000], function() { $contains(text, /b/) })", "some"],
    [`$toMillis("${"1".repeat(60)}x", "${"[Y]1".repeat(20)}")`, undefined],
    [`$toMillis("${"a".repeat(60)}", "${"[MNn]".repeat(20)}")`, undefined],
    [`$toMillis("${"-".repeat(60)}x", "${"[Yw]-".repeat(20)}")`, undefined],
    [`$fromMillis(0, "${"[Y]".repeat(2_000)}")`, undefined],
    [`$formatNumber(1, "${"0".repeat(9_000)}")`, undefined],
    ["$formatInteger(1e300, 'w')", undefined],
    ["$formatInteger(1e15, 'I')", undefined],
    ["$formatBase(1e300, 2)", undefined],
    ["$distinct(list)", undefined],
    ["$sort(list)", undefined],
    ["$sort(list, function($a, $b) { $a < $b })", undefined],
    ["$spread($map(list, function($n) { {'a': $n} }))", undefined],
    ["$zip(list, list, list)", undefined],
    ["$reduce(list, $append)", undefined],
    ["$map(list, $string)", undefined],
    ["**", undefined],
    ["$string($$) ~> $base64encode ~> $encodeUrlComponent ~> $uppercase ~> $length", undefined],
    [`${"(".repeat(300)}1${")".repeat(300)}`, undefined],
    ["[".repeat(600) + "]".repeat(600), "depth"],
    [`1${" + 1".repeat(600)}`, undefined]
  ]

  it("end by their limits, and let everything else in the process go on meanwhile", async () => {
    let turns = 0
    const ticking = setInterval(() => turns++, 1)
    try {
      for (const [text, limit] of bombs) {
        const built = await compile(text)
        if (Result.isFailure(built)) continue
        const result = await Effect.runPromise(Effect.result(built.success.evaluate(large)))
        if (limit !== undefined) {
          assert.isTrue(Result.isFailure(result), `${text} ended with a result`)
          const reached = Result.isFailure(result) ? result.failure.limit : undefined
          if (limit === "some") assert.isDefined(reached, text)
          else assert.strictEqual(reached, limit, text)
        }
      }
      assert.isAbove(turns, 10)
    } finally {
      clearInterval(ticking)
    }
  })

  it("fail alike each time they are repeated", async () => {
    const counted = await Promise.all([1, 2, 3].map(() => failure("$map([1..9999], function($i) { $sum([1..9999]) })")))
    assert.lengthOf(new Set(counted.map(({ message }) => message)), 1)
  })

  it("may be given less", async () => {
    const small = layerWith({ workMax: 100, outputCharsMax: 20 })
    const run = (text: string) =>
      Effect.runPromise(
        Effect.flatMap(Expressions, ({ compile }) => compile(text)).pipe(
          Effect.flatMap(({ evaluate }) => Effect.flip(evaluate({ text: "a".repeat(50) }))),
          Effect.provide(small)
        )
      )
    assert.deepInclude(await run("$sum([1..200].($ * 2))"), { limit: "time" })
    assert.deepInclude(await run("text"), { limit: "output" })
  })

  it("meet deep input without overflowing", async () => {
    let deep: unknown = 1
    for (let n = 0; n < 100_000; n++) deep = [deep]
    assert.deepInclude(await failure("trigger", { trigger: deep }), { limit: "depth" })
  })
})
