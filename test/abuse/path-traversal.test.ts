/** A10: no path, id or document name leads to a file, here or at a vendor. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type PlatformProcess, startPlatform } from "../faults/platform-process.ts"
import { ran } from "../support/cases.ts"
import { type Client, eventually, httpClient } from "../support/http-client.ts"
import { exchange } from "../support/raw-http.ts"
import { startVendor, type Vendor } from "../support/vendor.ts"

const outside = "written-outside-the-data-folder"
const inside = "written-inside-the-data-folder"
const root = new URL("../../", import.meta.url).pathname

let platform: PlatformProcess
let vendor: Vendor
let client: Client
/** Parts of files that an answer must never hold. */
let contents: ReadonlyArray<string>

const up = [
  "../",
  "..\\",
  "..%2f",
  "%2e%2e/",
  "%2e%2e%2f",
  "%252e%252e%252f",
  "..%c0%af",
  "..%ef%bc%8f",
  "%uff0e%uff0e/",
  "....//",
  "..;/",
  "．．／",
  "‥/"
]
const targets = (folder: string) => ["etc/passwd", `${folder.slice(1)}/outside.txt`, `${root.slice(1)}package.json`]
const ends = ["", "%00", "%00.json", "?", "#", "/.", "%20"]
const places = [
  "/",
  "/docs/",
  "/docs",
  "/openapi.json/",
  "/hooks/",
  "/problems/",
  "/api/v1/connectors/",
  "/api/v1/workflows/",
  "/api/v1/tenants/",
  "/api/v1/tenants/acme/executions/",
  "/api/v1/tenants/acme/connections/",
  "/api/v1/settings/",
  "/api/v1/projections/"
]

/** Each way up in each place, over the targets and ends in turn. */
const paths = (folder: string): ReadonlyArray<string> =>
  places.flatMap((place, row) =>
    up.map((step, column) => {
      const target = targets(folder)[(row + column) % 3]!
      return `${place}${step.repeat(8)}${target.replaceAll("/", step.endsWith("/") ? "/" : "%2f")}${ends[(row * up.length + column) % ends.length]}`
    })
  )
const absolute = (folder: string): ReadonlyArray<string> => [
  `/${folder}/outside.txt`,
  "//etc/passwd",
  "/\\etc\\passwd",
  "/file:///etc/passwd",
  "/%2fetc%2fpasswd",
  "/C:/Windows/win.ini",
  `/${encodeURIComponent(join(folder, "data", "server.json"))}`,
  "/node_modules/effect/package.json",
  "/.git/config",
  "/infra/main.ts",
  "/connectors/shop.yaml",
  "/tributary-data/journal.db"
]

beforeAll(async () => {
  vendor = await startVendor(() => ({ status: 200 }))
  platform = await startPlatform()
  client = httpClient(platform.url, platform.key)
  writeFileSync(join(platform.folder, "outside.txt"), outside)
  writeFileSync(join(platform.folder, "data", "inside.txt"), inside)
  const masterKey = readFileSync(join(platform.folder, "master.key"), "utf8").trim()
  contents = [outside, inside, "root:x:0:0", masterKey, '"devDependencies"', "SQLite format 3", `"pid":`, "hmac-sha256\n", "[remote "]
  await client.ok("POST", "/api/v1/tenants", { id: "acme", plan: "enterprise" })
})
afterAll(async () => {
  client?.close()
  await platform?.remove()
  await vendor?.close()
})

describe("A10: path traversal", () => {
  it("opens no file by a request's path, however it is written", async () => {
    const all = [...paths(platform.folder), ...absolute(platform.folder)]
    const found: Array<string> = []
    for (const path of all) {
      const target = Buffer.from(path, "utf8").toString("latin1")
      const head = `GET ${target} HTTP/1.1\r\nhost: x\r\nx-api-key: ${platform.key}\r\nconnection: close\r\n\r\n`
      const { status, text } = await exchange(platform.url, Buffer.from(head, "latin1"))
      if (status === 0 || status >= 500) found.push(`${path}: ${status}`)
      const content = contents.find((part) => text.includes(part))
      if (content !== undefined) found.push(`${path} gave ${content}`)
      if (status < 300 && !/\r\ncontent-type: (?:text\/html|application\/json)/u.test(text))
        found.push(`${path}: ${status} of another kind`)
    }
    assert.deepStrictEqual(found, [])
    assert.strictEqual((await client.ask("GET", "/healthz")).status, 200)
    ran("A10", all.length, 150, "paths")
  })

  it("takes no document, id or name for a place in the file system", async () => {
    const names = [
      ...up.map((step) => `${step.repeat(6)}etc/passwd`),
      "/etc/passwd",
      "file:///etc/passwd",
      "con",
      "..",
      ".",
      "a/../b",
      "a\u0000b"
    ]
    const found: Array<string> = []
    let cases = 0
    for (const name of names) {
      const asked = [
        ["POST", "/api/v1/connectors", { id: name, name: "x", auth: { none: { kind: "none" } }, icon: name }],
        ["POST", "/api/v1/connectors", { id: "icon", name: "x", auth: { none: { kind: "none" } }, icon: name }],
        [
          "POST",
          "/api/v1/workflows",
          { id: name, trigger: { connector: name, event: "*" }, steps: [{ id: "a", kind: "transform", expression: "1" }] }
        ],
        ["POST", "/api/v1/tenants/acme/connections", { connector: name, method: name, secrets: {} }],
        ["POST", "/api/v1/tenants/acme/hooks", { connector: name }],
        ["POST", "/api/v1/tenants", { id: name, region: "eu" }],
        ["POST", `/api/v1/projections/${encodeURIComponent(name)}/rebuild`, undefined]
      ] as const
      for (const [method, path, body] of asked) {
        const { status, text } = await client.ask(method, path, body === undefined ? {} : { body })
        cases++
        if (status >= 500) found.push(`${method} ${path} ${JSON.stringify(body)}: ${status} ${text}`)
        if (contents.some((part) => text.includes(part))) found.push(`${method} ${path} ${name} gave a file`)
      }
    }
    assert.deepStrictEqual(found, [])
    ran("A10", cases, 50, "documents, ids and names")
  })

  it("lets no value climb out of its place in a vendor's path", async () => {
    await client.ok("POST", "/api/v1/connectors", {
      id: "files",
      name: "Files",
      baseUrl: "{address}/files/of/acme",
      variables: { address: { kind: "origin" } },
      auth: { none: { kind: "none" } },
      actions: { read: { method: "GET", path: "/{folder}/{name}.json", query: { v: "{name}" }, effect: "safe" } }
    })
    await client.ok("POST", "/api/v1/workflows", {
      id: "files",
      trigger: { connector: "shop", event: "orders/create" },
      steps: [{ id: "read", kind: "action", connector: "files", action: "read", input: { folder: "a", name: "= trigger.body.name" } }]
    })
    await client.ok("POST", "/api/v1/workflows/files/publish")
    const variables = { address: vendor.address }
    await client.ok("POST", "/api/v1/tenants/acme/connections", { connector: "files", method: "none", secrets: {}, variables })
    await client.ok("PUT", "/api/v1/tenants/acme/workflows/files", {})
    const names = [
      ...up.map((step) => `${step.repeat(4)}admin`),
      ...[
        "..",
        ".",
        "",
        "/",
        "//evil.example/x",
        "a/b",
        "a?b=c",
        "a#b",
        "a%2fb",
        "a\\b",
        "a;b",
        "a\u0000b",
        "a b",
        "a\r\nb",
        "@evil.example",
        ":80",
        "\ud800"
      ]
    ]
    for (const name of names)
      await client.ok("POST", "/api/v1/tenants/acme/events", { connector: "shop", event: "orders/create", body: { name } })
    const runs = await eventually("every run to end", async () => {
      const { items } = (await client.ok("GET", "/api/v1/tenants/acme/executions?limit=200")).body
      const ended = items.filter(({ status }: { status: string }) => ["succeeded", "failed"].includes(status))
      return ended.length === names.length ? ended : undefined
    })
    const astray = vendor.calls.filter(
      ({ url }) => !/^\/files\/of\/acme\/a\/[^/?#\\]*\.json\?v=[^&#]*$/u.test(url) || /\/\.{1,2}(?:\/|$)/u.test(url)
    )
    assert.deepStrictEqual(
      astray.map(({ url }) => url),
      []
    )
    assert.strictEqual(vendor.calls.length, runs.filter(({ status }: { status: string }) => status === "succeeded").length)
    ran("A10", vendor.calls.length, 15, "calls of a vendor whose path was filled with such values")
  })
})
