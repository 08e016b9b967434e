/** `node test/faults/run.ts F5 --size R [--seed n]`: one fault scenario, or all of them, at a size. */
import { parseArgs } from "node:util"
import { perform, type Size, sizes } from "./scenario.ts"
import { scenarios } from "./scenarios.ts"

const usage = `node test/faults/run.ts <${Object.keys(scenarios).join("|")}|all> [--size ${sizes.join("|")}] [--seed <number>]
  --size  P: as in npm test (the default), N: nightly, R: before a release
  --seed  repeats a run; P has a fixed one, N and R take a fresh one`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { size: { type: "string", default: "P" }, seed: { type: "string" }, help: { type: "boolean", default: false } }
})
const [wanted = ""] = positionals
const size = values.size as Size
const names = wanted === "all" ? Object.keys(scenarios) : [wanted]
if (values.help || !sizes.includes(size) || names.some((name) => !(name in scenarios)) || !/^\d*$/u.test(values.seed ?? "")) {
  console.error(usage)
  process.exit(values.help ? 0 : 2)
}
const fresh = size === "P" ? undefined : Math.floor(Math.random() * 2 ** 31)
const seed = values.seed === undefined ? fresh : Number(values.seed)

let failed = false
for (const name of names) {
  try {
    const outcome = await perform(await scenarios[name]!(), { size, ...(seed === undefined ? {} : { seed }) })
    failed ||= "skipped" in outcome && names.length === 1
  } catch (cause) {
    failed = true
    console.error(cause instanceof Error ? [cause.message, cause.cause].filter(Boolean).join("\n") : cause)
  }
}
process.exit(failed ? 1 : 0)
