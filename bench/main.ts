/** `npm run bench`: measures what the product promises, prints it against the targets, and keeps a complete run in `bench/RESULTS.md`. */
import { parseArgs } from "node:util"
import { machine, writeResults } from "./results.ts"
import type { Settings } from "./rounds.ts"
import { judge, type Measured, type Row } from "./row.ts"
import { tableHead, tableLine } from "./table.ts"

type Measure = (settings: Settings) => Promise<ReadonlyArray<Measured>>

/** Groups of rows that are measured together, by name. */
const groups: Readonly<Record<string, () => Promise<Measure>>> = {
  ingest: async () => (await import("./rows/ingest.ts")).ingest,
  runs: async () => (await import("./rows/runs.ts")).runs,
  latency: async () => (await import("./rows/latency.ts")).latency,
  inflight: async () => (await import("./rows/inflight.ts")).inflight,
  rebuild: async () => (await import("./rows/rebuild.ts")).rebuild,
  journal: async () => (await import("./rows/journal.ts")).journalRow,
  memory: async () => (await import("./rows/memory.ts")).memory,
  tenants: async () => (await import("./rows/tenants.ts")).tenants,
  tenants5m: async () => (await import("./rows/tenants.ts")).tenants5m,
  start: async () => (await import("./rows/start.ts")).start,
  start5m: async () => (await import("./rows/start.ts")).start5m,
  distributed: async () => (await import("./rows/distributed.ts")).distributed,
  workers: async () => (await import("./rows/workers.ts")).workers
}
const names = Object.keys(groups)
/** Seeded with 5,000,000 events: minutes that a first impression does not wait for. */
const slowToSeed = ["tenants5m", "start5m"]

const usage = `npm run bench -- [--json] [--quick] [--rounds <number>] [--rows <${names.join(",")}>]
  --json    one object per line, nothing else
  --quick   shorter loads and smaller seeds, without ${slowToSeed.join(" and ")} unless asked for: a first impression, not written to
            bench/RESULTS.md
  --rounds  rounds of which the median is taken (3)
  --rows    only these groups; not written to bench/RESULTS.md`

const readArguments = () => {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "3" },
      rows: { type: "string" },
      help: { type: "boolean", default: false }
    }
  })
  const all = values.quick ? names.filter((name) => !slowToSeed.includes(name)) : names
  const wanted = values.rows?.split(",") ?? all
  const unknown = wanted.find((name) => !names.includes(name))
  const rounds = Number(values.rounds)
  if (unknown !== undefined || !Number.isInteger(rounds) || rounds < 1 || values.help) {
    console.error(unknown === undefined ? usage : `There is no group "${unknown}".\n\n${usage}`)
    process.exit(values.help ? 0 : 2)
  }
  return { ...values, wanted, rounds }
}

const { json, quick, rounds, wanted } = readArguments()
const tell = (line: string) => {
  if (!json) console.error(`  ${line}`)
}

const began = performance.now()
const rows: Array<Row> = []
const failures: Array<string> = []
if (!json) console.log(`${machine()}\n\n${tableHead}`)
for (const name of wanted) {
  try {
    const measure = await groups[name]!()
    for (const measured of await measure({ rounds, quick, tell })) {
      const row = judge(measured)
      rows.push(row)
      console.log(json ? JSON.stringify(row) : tableLine(row))
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    failures.push(`\`${name}\`: ${reason.split("\n", 1)[0]}`)
    console.error(`${name} could not be measured: ${reason}`)
  }
}
const minutes = (performance.now() - began) / 60_000
if (!quick && wanted.length === names.length) writeResults({ rows, failures, rounds, minutes })
if (!json) {
  const missed = rows.filter(({ ok }) => !ok).map(({ name }) => name)
  console.log(`\n${minutes.toFixed(1)} minutes. ${missed.length === 0 ? "Every row reached its target." : `Missed: ${missed.join(", ")}.`}`)
}
process.exit(failures.length === 0 ? 0 : 1)
