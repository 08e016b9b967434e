/** How rows look: as a table for people, as a table in Markdown. */
import type { Row } from "./row.ts"

const columns = ["row", "value", "unit", "reference", "ratio", "target", ""] as const
const widths = [18, 11, 16, 11, 7, 24, 6] as const

const grouped = (value: number | null): string => (value === null ? "" : value.toLocaleString("en-US", { maximumFractionDigits: 3 }))

const cells = ({ name, value, unit, reference, ratio, target, ok }: Row): ReadonlyArray<string> => [
  name,
  grouped(value),
  unit,
  grouped(reference),
  ratio === null ? "" : ratio.toFixed(3),
  target,
  ok ? "ok" : "MISSED"
]

const isNumber = (column: number) => column === 1 || column === 3 || column === 4

const line = (texts: ReadonlyArray<string>): string =>
  texts
    .map((text, at) => (isNumber(at) ? text.padStart(widths[at]!) : text.padEnd(widths[at]!)))
    .join("  ")
    .trimEnd()

export const tableHead = line(columns)
export const tableLine = (row: Row): string => line(cells(row))

const markdownLine = (texts: ReadonlyArray<string>): string => `| ${texts.join(" | ")} |`

export const markdownTable = (rows: ReadonlyArray<Row>): string =>
  [
    markdownLine(columns),
    markdownLine(columns.map((_, at) => (isNumber(at) ? "---:" : "---"))),
    ...rows.map((row) => markdownLine(cells(row).map((text, at) => (at === 0 ? `\`${text}\`` : text === "MISSED" ? "**missed**" : text))))
  ].join("\n")
