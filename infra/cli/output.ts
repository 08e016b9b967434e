/** What commands print: tables and lines for people, JSON for programs. */
import { stripVTControlCharacters, styleText } from "node:util"
import * as Console from "effect/Console"
import type * as Effect from "effect/Effect"

/** Text from outside must not move the terminal's cursor, nor turn the direction of what follows. */
export const plain = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, "\ufffd")

type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan"
/** Coloured on a terminal that shows colours; untouched in a file, in a pipe and under NO_COLOR. */
export const styled = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout })

const styleOfStatus: Readonly<Record<string, Style>> = {
  succeeded: "green",
  active: "green",
  enabled: "green",
  published: "green",
  live: "green",
  routed: "green",
  ok: "green",
  failed: "red",
  quarantined: "red",
  refused: "red",
  revoked: "red",
  "dead-letter": "red",
  waiting: "yellow",
  parked: "yellow",
  retrying: "yellow",
  "needs-decision": "yellow",
  undecided: "yellow",
  postponed: "yellow",
  building: "yellow",
  warning: "yellow",
  running: "cyan",
  started: "cyan"
}
export const status = (text: string): string => {
  const style = styleOfStatus[text]
  return style === undefined ? text : styled(style, text)
}

/** Epoch milliseconds as `2026-11-20 10:41:03Z`. */
export const time = (at: number | null | undefined): string =>
  at === null || at === undefined ? "–" : `${new Date(at).toISOString().slice(0, 19).replace("T", " ")}Z`

export const duration = (millis: number | undefined): string => {
  if (millis === undefined) return "–"
  if (millis < 10) return `${millis.toFixed(1)} ms`
  if (millis < 1000) return `${Math.round(millis)} ms`
  return millis < 60_000
    ? `${(millis / 1000).toFixed(1)} s`
    : `${Math.floor(millis / 60_000)} min ${Math.round((millis % 60_000) / 1000)} s`
}

export const bytes = (count: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let value = count
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

const width = (text: string): number => [...stripVTControlCharacters(text)].length
const padded = (text: string, to: number): string => text + " ".repeat(Math.max(0, to - width(text)))

/** Columns as wide as their widest cell; cells may be styled. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((name, column) => Math.max(width(name), ...rows.map((row) => width(row[column] ?? ""))))
  const line = (cells: ReadonlyArray<string>) =>
    cells
      .map((cell, column) => padded(cell, widths[column]!))
      .join("  ")
      .trimEnd()
  return [styled("dim", line(head)), ...rows.map(line)].join("\n")
}

/** Names and values, one under the other. */
export const fields = (pairs: ReadonlyArray<readonly [string, string]>): string => {
  const longest = Math.max(...pairs.map(([name]) => width(name)))
  return pairs.map(([name, value]) => `${styled("dim", padded(name, longest))}  ${value}`).join("\n")
}

/** One document: as it came for a program, laid out for a person. */
export const show = <A>(asJson: boolean, document: A, human: (document: A) => string): Effect.Effect<void> =>
  Console.log(asJson ? JSON.stringify(document, null, 2) : human(document))

/** `… | head` closes our output before we are done: that ends the command, and is no error. */
export const endOnClosedPipe = (): void => {
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0)
      throw error
    })
}
