/** A vendor that repeats the credentials it was given, in every way that real ones have been seen to. */
import { gzipSync } from "node:zlib"
import { startVendor, type Vendor, type VendorAnswer, type VendorCall } from "../support/vendor.ts"

export const manifest = {
  id: "leaky",
  name: "Leaky",
  baseUrl: "{address}",
  variables: { address: { kind: "origin" } },
  auth: {
    header: { kind: "apiKey", place: { in: "header", name: "x-key" } },
    bearer: { kind: "bearer" },
    basic: { kind: "basic" },
    query: { kind: "apiKey", place: { in: "query", name: "key" } },
    cookie: { kind: "custom", fields: { session: {} }, place: [{ in: "cookie", name: "sid" }] },
    body: {
      kind: "custom",
      fields: { client: {}, secret: {} },
      place: [
        { in: "body", name: "client", value: "{client}" },
        { in: "body", name: "secret", value: "id:{secret}" }
      ]
    }
  },
  actions: {
    tell: { method: "POST", path: "/tell/{way}", body: "input", effect: "safe", timeoutMillis: 5_000 }
  },
  errors: { transient: [429, 503] }
}

/** What a server finds out about its caller, secrets decoded. */
const credentialsOf = ({ url, headers, body }: VendorCall): ReadonlyArray<string> => {
  const authorization = headers.authorization ?? ""
  const decoded = authorization.startsWith("Basic ") ? Buffer.from(authorization.slice(6), "base64").toString() : ""
  const utf8 = (text: string) => Buffer.from(text, "latin1").toString("latin1")
  const sent = JSON.parse(body || "{}") as Record<string, unknown>
  return [
    utf8(String(headers["x-key"] ?? "")),
    authorization.replace(/^Bearer /u, ""),
    decoded,
    ...decoded.split(/:(.*)/su),
    new URL(url, "http://v").searchParams.get("key") ?? "",
    decodeURIComponent(/sid=([^;]+)/u.exec(headers.cookie ?? "")?.[1] ?? ""),
    String(sent["client"] ?? ""),
    String(sent["secret"] ?? "").replace(/^id:/u, "")
  ].filter((text) => text.length > 3)
}

const php = (value: unknown) =>
  JSON.stringify(value)
    .replaceAll("/", "\\/")
    .replace(/[\u0080-\uffff]/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)
const html = (text: string) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;")
const json = { "content-type": "application/json" }
const message = (text: string, status: number): VendorAnswer => ({
  status,
  headers: json,
  body: JSON.stringify({ error: { message: text } })
})

/** By the last part of the path. */
export const ways: Readonly<Record<string, (credentials: ReadonlyArray<string>, call: VendorCall) => VendorAnswer>> = {
  success: (all, { url, headers, body }) => ({ status: 200, headers: json, body: JSON.stringify({ all, url, headers, body }) }),
  message: (all) => message(`The key ${all.join(" and ")} may not do this`, 422),
  escaped: (all) => ({ status: 422, headers: json, body: php({ error: { message: `bad key ${all.join(" ")}` }, all }) }),
  escapedSuccess: (all) => ({ status: 200, headers: json, body: php({ all, deep: [{ all }], [all[0] ?? "none"]: 1 }) }),
  plain: (all) => ({ status: 400, headers: { "content-type": "text/plain" }, body: `no such key: ${all.join("\n")}` }),
  page: (all) => ({ status: 404, headers: { "content-type": "text/html" }, body: `<h1>${all.map(html).join("<br>")}</h1>` }),
  url: (all) => message(all.map(encodeURIComponent).join("&"), 422),
  lowerUrl: (all) =>
    message(all.map((text) => encodeURIComponent(text).replace(/%[0-9A-F]{2}/gu, (escape) => escape.toLowerCase())).join("&"), 422),
  base64: (all) => message(all.map((text) => Buffer.from(text).toString("base64")).join(" "), 422),
  base64url: (all) => message(all.map((text) => Buffer.from(text).toString("base64url")).join(" "), 422),
  hex: (all) => message(all.map((text) => Buffer.from(text).toString("hex")).join(" "), 422),
  headers: (all) => ({
    status: 422,
    headers: {
      ...json,
      "x-echo": encodeURIComponent(all.join(" ")),
      "www-authenticate": `Key error="${encodeURIComponent(all.join(" "))}"`
    },
    body: "{}"
  }),
  redirect: (all) => ({ status: 302, headers: { location: `/tell/success?key=${encodeURIComponent(all.join(" "))}` } }),
  zipped: (all) => ({
    status: 422,
    headers: { ...json, "content-encoding": "gzip" },
    body: gzipSync(JSON.stringify({ message: all.join(" ") }))
  }),
  later: (all) => ({ ...message(all.join(" "), 503), headers: { ...json, "retry-after": "0" } }),
  broken: (all) => message(`Key ${all.join(" ")} was revoked`, 401)
}

export const startLeakyVendor = (): Promise<Vendor> =>
  startVendor((call) => {
    const way = new URL(call.url, "http://v").pathname.split("/").at(-1)!
    if (way === "reset") return "reset"
    return ways[way]!(credentialsOf(call), call)
  })
