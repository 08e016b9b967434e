/** The pages that the `type` of a problem leads to. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { startServer, type TestServer } from "../../support/http-server.ts"

let server: TestServer
beforeAll(async () => {
  server = await startServer()
}, 30_000)
afterAll(() => server.stop())

const ask = (path: string, accept = "application/json") => server.ask("GET", path, { key: "", headers: { accept } })
const html = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
const root = join(import.meta.dirname, "..", "..", "..")

describe("a problem's type", () => {
  it("leads to what it means and what to do, for everything that the document declares", async () => {
    const declared = new Set((await ask("/openapi.json")).text.match(/\/problems\/[a-z-]+/g))
    assert.isAbove(declared.size, 40)
    for (const type of declared) {
      const { status, body } = await ask(type)
      assert.strictEqual(status, 200, type)
      assert.strictEqual(body.type, type)
      assert.isAtLeast(body.status, 400)
      for (const text of [body.title, body.advice]) assert.match(text, /\w/)
    }
  })
  it("leads somewhere for whatever a webhook is answered", async () => {
    const text = readdirSync(join(root, "services"))
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(root, "services", name), "utf8"))
      .join("\n")
    const codes = [...text.matchAll(/refused\(\s*\d{3},\s*"([a-z-]+)"/g), ...text.matchAll(/failed\(\s*"([a-z-]+)",/g)].map(
      ([, code]) => code
    )
    assert.includeMembers(codes, ["endpoint-not-found", "tenant-unknown", "body-malformed"])
    const answer = await fetch(`${server.url}/hooks/nobody`, { method: "POST", body: "{}" })
    const { type } = (await answer.json()) as { type: string }
    for (const each of [type, "/problems/signature-missing", "/problems/body-too-large", ...codes.map((code) => `/problems/${code}`)])
      assert.strictEqual((await ask(each)).status, 200, each)
  })
  it("is a page for a browser, which loads nothing and runs nothing", async () => {
    const { headers, text } = await ask("/problems/tenant-exists", html)
    assert.include(headers.get("content-type")!, "text/html")
    assert.match(headers.get("content-security-policy")!, /^default-src 'none'/)
    assert.include(text, "<h1>The tenant exists already</h1>")
    assert.notMatch(text, /<script|https?:/)
    assert.include((await ask("/problems", html)).text, 'href="/problems/tenant-exists"')
  })
  it("is listed with all the others", async () => {
    const { items } = (await ask("/problems")).body
    assert.include(
      items.map(({ type }: { type: string }) => type),
      "/problems/revision-mismatch"
    )
  })
  it("that nobody declares is not found, and not repeated", async () => {
    const { status, text } = await ask("/problems/%3Cscript%3E", html)
    assert.strictEqual(status, 404)
    assert.notInclude(text, "<script>")
  })
})
