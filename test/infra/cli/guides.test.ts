/** The guides: their documents can be published, and their commands exist. */
import { readdirSync, readFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { assert, describe, it } from "vitest"
import { parse } from "yaml"
import { readFlowDocument } from "#domain/flow-document.ts"
import { root } from "#infra/cli/root.ts"
import { readManifestText } from "#services/connectors.ts"
import { readFlowText } from "#services/flows.ts"

const folder = new URL("../../../docs/guides/", import.meta.url)
const examples = new URL("../../../examples/", import.meta.url)
const guides = readdirSync(folder).map((name) => ({ name, text: readFileSync(new URL(name, folder), "utf8") }))
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gmsu"))].map(([, code]) => code!)

/** `runs list`, `start`, …: every command that does something. */
const commandNames = (command: Command.Command.Any, path: ReadonlyArray<string> = []): ReadonlyArray<string> => {
  const below = command.subcommands.flatMap((group) => group.commands)
  return below.length === 0 ? [path.join(" ")] : below.flatMap((child) => commandNames(child, [...path, child.name]))
}

/** Words as a shell takes them; `<run>` stands for some id. */
const wordsOf = (line: string): ReadonlyArray<string> =>
  [...line.matchAll(/"([^"]*)"|(\S+)/gu)].slice(1).map(([, quoted, word]) => quoted ?? word!.replace(/^<.*>$/u, "some-id"))

const silent = { ...console, log: () => {}, error: () => {} } as unknown as Console.Console

/** How a command ends where there is no server: `Told` when its words were understood. */
const ending = (words: ReadonlyArray<string>) =>
  Command.runWith(root, { version: "0" })(words).pipe(
    Effect.provide(NodeServices.layer),
    Effect.provideService(Console.Console, silent),
    Effect.match({ onSuccess: () => "done", onFailure: (error) => (error as { _tag: string })._tag }),
    Effect.runPromise
  )

const found = <A>(read: Result.Result<A, { readonly findings: ReadonlyArray<unknown> }>): ReadonlyArray<unknown> =>
  Result.isFailure(read) ? read.failure.findings : []
const findingsOf = (code: string): ReadonlyArray<unknown> =>
  code.startsWith("# connector") ? found(readManifestText(code)) : found(readFlowText(code))

describe("a document of a guide", () => {
  const yaml = guides.flatMap(({ name, text }) => blocks(text, "yaml").map((code) => ({ name, code })))
  it.each(yaml)("of $name is valid", ({ code }) => {
    assert.deepStrictEqual(findingsOf(code), [])
  })
  it("and every example is valid", () => {
    for (const file of readdirSync(examples)) {
      const read = readFlowDocument(parse(readFileSync(new URL(file, examples), "utf8")))
      if (Result.isFailure(read)) assert.fail(`${file}: ${JSON.stringify(read.failure)}`)
    }
  })
})

describe("a command of a guide", () => {
  const lines = guides.flatMap(({ text }) =>
    blocks(text, "sh").flatMap((code) => code.split("\n").filter((line) => line.startsWith("tributary ")))
  )
  const asking = lines.filter((line) => !/^tributary (?:start|demo|doctor|keys reset)/u.test(line))
  it.each(asking)("is understood: %s", async (line) => {
    delete process.env["TRIBUTARY_URL"]
    process.env["TRIBUTARY_DATA"] = "/nowhere"
    assert.strictEqual(await ending(wordsOf(line)), "Told")
  })
  it("is not understood when it has a flag that does not exist", async () =>
    assert.strictEqual(await ending(["runs", "list", "--tenant", "a", "--nonsense", "x"]), "ShowHelp"))
  it("is there for every command", () => {
    const told = lines.join("\n")
    for (const name of commandNames(root)) assert.include(told, `tributary ${name}`)
  })
})
