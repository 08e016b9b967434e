/** The rules of `biome.json` prove what they claim: for each, a sample that breaks it, beside samples that keep all of them. */
import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert, describe, it } from "vitest"

const root = join(import.meta.dirname, "..")
const biome = createRequire(import.meta.url).resolve("@biomejs/biome/bin/biome")

const imports = "lint/style/noRestrictedImports"
const globals = "lint/style/noRestrictedGlobals"

/** File, what it holds, and the rule that it breaks. */
const broken: ReadonlyArray<readonly [file: string, text: string, rule: string]> = [
  ["domain/to-services.ts", 'export { a } from "#services/a.ts"', imports],
  ["domain/to-projections.ts", 'import "#projections/a.ts"', imports],
  ["domain/to-itself-by-alias.ts", 'import "#domain/b.ts"', imports],
  ["domain/to-node.ts", 'import "node:fs"', imports],
  ["domain/to-a-library.ts", 'import "yaml"', imports],
  ["domain/by-path.ts", 'import "../services/a.ts"', imports],
  ["domain/lazily.ts", 'export const a = () => import("#adapters/net/a.ts")', imports],
  ["projections/to-services.ts", 'import "#services/a.ts"', imports],
  ["projections/to-node.ts", 'import "node:crypto"', imports],
  ["services/to-adapters.ts", 'import "#adapters/net/a.ts"', imports],
  ["services/to-a-type-of-adapters.ts", 'import type { A } from "#adapters/net/a.ts"\nexport type B = A', imports],
  ["services/to-infra.ts", 'import "#infra/a.ts"', imports],
  ["services/by-path.ts", 'import "../adapters/net/a.ts"', imports],
  ["services/to-the-network.ts", 'import "node:net"', imports],
  ["services/to-timers.ts", 'import "node:timers/promises"', imports],
  ["services/to-undici.ts", 'import "undici"', imports],
  ["services/to-chance.ts", 'import { randomBytes } from "node:crypto"\nexport const a = randomBytes', imports],
  ["services/ports/to-services.ts", 'import "#services/a.ts"', imports],
  ["services/ports/by-path.ts", 'import "../a.ts"', imports],
  ["services/ports/to-a-projection.ts", 'import "#projections/a.ts"', imports],
  ["adapters/net/to-services.ts", 'import "#services/a.ts"', imports],
  ["adapters/net/to-a-projection.ts", 'import "#projections/a.ts"', imports],
  ["adapters/net/to-infra.ts", 'import "#infra/a.ts"', imports],
  ["adapters/net/by-path.ts", 'import "../../services/a.ts"', imports],
  ["infra/to-tests.ts", 'import "#test/a.ts"', imports],
  ["infra/to-benchmarks.ts", 'import "#bench/a.ts"', imports],
  ["domain/cycle-a.ts", 'import { b } from "./cycle-b.ts"\nexport const a = () => b', "lint/suspicious/noImportCycles"],
  ["domain/cycle-b.ts", 'import { a } from "./cycle-a.ts"\nexport const b = () => a', "lint/suspicious/noImportCycles"],
  ["domain/now.ts", "export const a = Date.now()", "plugin"],
  ["domain/now-by-name.ts", "export const a = Date.now", "plugin"],
  ["projections/new-date.ts", "export const a = new Date()", "plugin"],
  ["services/new-date-bare.ts", "export const a = new Date", "plugin"],
  ["services/date.ts", "export const a = Date()", "plugin"],
  ["services/date-in-parts.ts", "const { now } = Date\nexport const a = now", "plugin"],
  ["services/date-computed.ts", 'export const a = Date["now"]()', "plugin"],
  ["services/random.ts", "export const a = Math.random()", "plugin"],
  ["services/random-in-parts.ts", "const { random } = Math\nexport const a = random", "plugin"],
  ["services/kept-alive.ts", "export const a = (b: { c: () => void }) => {\n  b.c = () => {}\n}", "plugin"],
  [
    "adapters/sqlite/kept-alive.ts",
    "export const a = (b: { c?: () => void }) => {\n  b.c ??= () => {}\n  b.c = function () {}\n}",
    "plugin"
  ],
  ["services/performance.ts", "export const a = performance.now()", globals],
  ["services/timeout.ts", "export const a = () => setTimeout(() => undefined, 1)", globals],
  ["services/interval.ts", "export const a = () => setInterval(() => undefined, 1)", globals],
  ["services/immediate.ts", "export const a = () => setImmediate(() => undefined)", globals],
  ["services/microtask.ts", "export const a = () => queueMicrotask(() => undefined)", globals],
  ["services/fetch.ts", 'export const a = () => fetch("https://example.com")', globals],
  ["services/global-this.ts", "export const a = globalThis.Date", globals],
  ["services/process.ts", "export const a = process.hrtime()", globals],
  ["services/crypto.ts", "export const a = crypto.randomUUID()", globals],
  ["services/unused-import.ts", 'import * as Effect from "effect/Effect"', "lint/correctness/noUnusedImports"],
  ["services/unused-variable.ts", "const a = 1", "lint/correctness/noUnusedVariables"]
]

/** In each room, everything that it may do. */
const clean: ReadonlyArray<readonly [file: string, text: string]> = [
  [
    "domain/a.ts",
    'import * as Schema from "effect/Schema"\nimport { b } from "./b.ts"\nexport const a = [Schema, b, new Date(0), Date.parse("2026-11-20")]'
  ],
  ["domain/b.ts", "export const b = Math.max(1, 2)"],
  ["projections/a.ts", 'import { a } from "#domain/a.ts"\nexport const p = a'],
  ["projections/projection.ts", "export const projection = 1"],
  [
    "services/a.ts",
    'import { createHmac } from "node:crypto"\nimport { p } from "#projections/a.ts"\nimport { port } from "./ports/a.ts"\nexport const s = [createHmac, p, port]'
  ],
  [
    "services/ports/a.ts",
    'import { a } from "#domain/a.ts"\nimport { projection } from "#projections/projection.ts"\nimport { b } from "./b.ts"\nexport const port = [a, b, projection]'
  ],
  ["services/ports/b.ts", "export const b = 1"],
  [
    "adapters/net/a.ts",
    'import { connect } from "node:net"\nimport { port } from "#services/ports/a.ts"\nimport { b } from "../tls/b.ts"\nexport const c = [connect, port, b, Date.now(), Math.random(), setTimeout]'
  ],
  ["adapters/tls/b.ts", "export const b = performance.now()"],
  [
    "infra/a.ts",
    'import { c } from "#adapters/net/a.ts"\nimport { s } from "#services/a.ts"\nexport const i = [c, s, new Date(), process.pid]'
  ],
  ["bench/a.ts", 'import { i } from "#infra/a.ts"\nexport const b = [i, fetch, Date.now()]'],
  ["test/a.ts", 'import { i } from "#infra/a.ts"\nexport const t = [i, Math.random()]']
]

interface Report {
  readonly diagnostics: ReadonlyArray<{
    readonly category: string
    readonly severity: string
    readonly location: { readonly path: string | { readonly file: string } }
  }>
}

/** Lints the samples in a folder of their own, under the configuration of this repository: the rules broken, by file. */
const lint = async (): Promise<ReadonlyMap<string, ReadonlySet<string>>> => {
  const folder = await mkdtemp(join(tmpdir(), "tributary-lint-"))
  try {
    await cp(join(root, "biome.json"), join(folder, "biome.json"))
    await cp(join(root, "infra/lint"), join(folder, "infra/lint"), { recursive: true })
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", imports: { "#*": "./*" } }))
    for (const [file, text] of [...broken, ...clean]) {
      await mkdir(dirname(join(folder, file)), { recursive: true })
      await writeFile(join(folder, file), `${text}\n`)
    }
    const output = await new Promise<string>((resolve) =>
      execFile(process.execPath, [biome, "lint", "--reporter=json", "--max-diagnostics=none", "."], { cwd: folder }, (_error, stdout) =>
        resolve(stdout)
      )
    )
    const found = new Map<string, Set<string>>()
    for (const { category, location, severity } of (JSON.parse(output) as Report).diagnostics) {
      const file = typeof location.path === "string" ? location.path : location.path.file
      if (severity === "error") found.set(file, (found.get(file) ?? new Set()).add(category))
    }
    return found
  } finally {
    await rm(folder, { recursive: true })
  }
}

describe("lint", async () => {
  const found = await lint()
  for (const [file, , rule] of broken) {
    it(`refuses ${file}`, () => assert.include(Array.from(found.get(file) ?? []), rule))
  }
  it("has nothing against what each room may do", () => {
    for (const [file] of clean) assert.deepStrictEqual(Array.from(found.get(file) ?? []), [], file)
  })
})
