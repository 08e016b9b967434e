/** `bench/RESULTS.md`: the newest complete run, with the machine that it was measured on. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { cpus, release, totalmem } from "node:os"
import { join } from "node:path"
import type { Row } from "./row.ts"
import { markdownTable } from "./table.ts"

const file = join(import.meta.dirname, "RESULTS.md")
const gibibyte = 1024 ** 3

/** What a figure depends on besides the code. */
export const machine = (): string =>
  `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, ${Math.round(totalmem() / gibibyte)} GiB, Linux ${release()}, Node ${process.version}`

const git = (...args: ReadonlyArray<string>): string => execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim()

/** The commit, marked when files differ from it; a copy without its history has none. */
const commit = (): string => {
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") === "" ? "" : " with changes")
  } catch {
    return "unknown"
  }
}

export interface Bench {
  readonly rows: ReadonlyArray<Row>
  /** Groups that could not be measured, with why. */
  readonly failures: ReadonlyArray<string>
  readonly rounds: number
  readonly minutes: number
}

export const writeResults = ({ rows, failures, rounds, minutes }: Bench): void => {
  const missed = rows.filter(({ ok }) => !ok).length
  const text = `# Results

Written by \`npm run bench\`. Ratios compare the platform with the raw loop named in [README.md](README.md), measured between its rounds on the
same machine: they say more than the figures do. Load generator, sink and server share its cores.

- Date: ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC
- Machine: ${machine()}
- Commit: ${commit()}
- Medians of ${rounds} rounds; ${minutes.toFixed(1)} minutes in all
- ${missed === 0 ? "Every row reached its target." : `${missed} of ${rows.length} rows missed their target.`}

${markdownTable(rows)}
${failures.length === 0 ? "" : `\nNot measured:\n\n${failures.map((failure) => `- ${failure}`).join("\n")}\n`}`
  writeFileSync(file, text)
}
