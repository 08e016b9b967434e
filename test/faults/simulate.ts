/** `node test/faults/simulate.ts --seeds 100000 [--from n] [--jobs 2] [--trace]`: simulated executions with many faults, seed by seed. */
import { fork } from "node:child_process"
import { parseArgs } from "node:util"
import { violationsOf } from "../simulation/checker.ts"
import { execute } from "../simulation/execution.ts"
import { howToRepeat, playSeeds } from "../simulation/many-faults.ts"
import { manyFaultsOf } from "../simulation/seeded.ts"

const usage = `node test/faults/simulate.ts --seeds <number> [--from <seed>] [--jobs <processes>] [--trace]
  --seeds  how many executions
  --from   the first seed; 1 unless given
  --jobs   processes that share the seeds; 2 unless given
  --trace  prints every I/O of one execution`

interface Share {
  readonly from: number
  readonly seeds: number
}
interface Report {
  readonly executions: number
  readonly ios: number
  readonly injected: Readonly<Record<string, number>>
  readonly violations: ReadonlyArray<string>
}
/** So many seeds are played between two words to the parent. */
const shareSeeds = 250

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
    trace: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
const [from, seeds, jobs] = [Number(values.from), Number(values.seeds), Number(values.jobs)]

const work = () => {
  process.on("message", ({ from, seeds }: Share) => {
    const { executions, ios, injected, violations } = playSeeds(from, seeds)
    process.send!({ executions, ios, injected, violations } satisfies Report)
  })
}

const trace = () => {
  for (let seed = from; seed < from + seeds; seed++) {
    const { fixture, options } = manyFaultsOf(seed)
    const executed = execute(fixture, { ...options, traced: true })
    console.log(`${fixture.name}, ${fixture.processes.length} processes\n${executed.world.trace.join("\n")}`)
    console.log(`trace ${executed.world.traceHash}; violations:`, violationsOf(executed))
  }
}

const share = async () => {
  const began = performance.now()
  const totals = { executions: 0, ios: 0, injected: {} as Record<string, number>, violations: [] as Array<string> }
  let next = from
  const takeShare = (): Share | undefined => {
    const share = { from: next, seeds: Math.min(shareSeeds, from + seeds - next) }
    next += share.seeds
    return share.seeds > 0 ? share : undefined
  }
  const job = () =>
    new Promise<void>((resolve, reject) => {
      const child = fork(import.meta.filename, { env: { ...process.env, SIMULATION_JOB: "1" } })
      child.once("error", reject)
      child.once("exit", (code) => (code === 0 || code === null ? resolve() : reject(new Error(`A job ended with code ${code}.`))))
      const give = () => {
        const share = takeShare()
        if (share === undefined) child.disconnect()
        else child.send(share)
      }
      child.on("message", ({ executions, ios, injected, violations }: Report) => {
        totals.executions += executions
        totals.ios += ios
        for (const [fault, count] of Object.entries(injected)) totals.injected[fault] = (totals.injected[fault] ?? 0) + count
        for (const violation of violations) console.error(violation)
        totals.violations.push(...violations)
        if (totals.executions % 10_000 < shareSeeds) console.log(`${totals.executions} of ${seeds} executions`)
        give()
      })
      give()
    })
  await Promise.all(Array.from({ length: jobs }, job))
  const seconds = (performance.now() - began) / 1_000
  const faults = Object.values(totals.injected).reduce((sum, count) => sum + count, 0)
  console.log(
    `F3: ${totals.executions} executions from seed ${from}, ${totals.ios} I/Os, ${faults} faults, ${totals.violations.length} violations, ${seconds.toFixed(0)} s`
  )
  console.log(
    Object.entries(totals.injected)
      .map(([fault, count]) => `${fault} ${count}`)
      .join(", ")
  )
  if (faults === 0) console.error("Nothing was injected, and so nothing is proven.")
  if (totals.violations.length > 0) console.error(`Repeat one: ${howToRepeat(from)}, with its seed.`)
  process.exit(totals.violations.length > 0 || faults === 0 ? 1 : 0)
}

if (values.help || ![from, seeds, jobs].every((number) => Number.isSafeInteger(number) && number > 0)) {
  console.error(usage)
  process.exit(values.help ? 0 : 2)
} else if (process.env["SIMULATION_JOB"] === "1") work()
else if (values.trace) trace()
else await share()
