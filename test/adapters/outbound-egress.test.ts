/** The egress guard (A6): hostile URLs, names that lead inside, rebinding, and smuggling by headers. Canaries listen on loopback. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { assert, describe, it } from "vitest"
import { parseAddress, specialRangeOf } from "#adapters/net/address.ts"
import { admitUrl, nothingAllowed, parseAllowList } from "#adapters/net/egress.ts"
import { make, type OutboundOptions } from "#adapters/undici/outbound.ts"
import type { OutboundRequest } from "#services/ports/outbound.ts"
import { listenHttp } from "../support/loopback.ts"

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Effect.scoped(effect))
const allowing = (text: string) => Result.getOrThrow(parseAllowList(text))
const outbound = (allow: string, options: Partial<OutboundOptions> = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => make({ allow: allowing(allow), ...options })),
      ({ close }) => close
    ),
    (made) => made.outbound
  )
const get = (url: string, headers: Record<string, string> = {}): OutboundRequest => ({
  method: "GET",
  url,
  headers,
  timeoutMs: 20_000,
  responseBytesMax: 100
})
const canary = listenHttp((_request, response) => response.end("canary"))

/** Hosts that are, or lead to, what must not be called. Each is tried with http and https, on the canary's port and on 443. */
const hostileHosts = [
  // This machine, as every parser writes it.
  ..."127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7F.1 0x7f.0x0.0x0.0x1 0177.0.0.1 017700000001 0177.0x0.1".split(" "),
  ..."127.0.0.1. 127.000.000.001 %31%32%37.0.0.1 127%2e0%2e0%2e1 １２７.0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1 0 00 0x0 0.0.0.0 0.1.2.3".split(" "),
  ..."[::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:0:7f00:1]".split(" "),
  ..."[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2001:0:4136:e378:8000:63bf:80ff:fffe]".split(" "),
  ..."localhost LOCALHOST LocalHost. localhost. a.localhost ｌｏｃａｌｈｏｓｔ loc%61lhost".split(" "),
  // Cloud metadata.
  ..."169.254.169.254 2852039166 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.254.43518 169.254.169.254.".split(" "),
  ..."[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::1] [fd00:ec2::254] 100.100.100.200".split(" "),
  ..."169.254.170.2 192.0.0.192 168.63.129.16 metadata metadata.google.internal METADATA.google.internal metadata.goog".split(" "),
  // Private, shared, link-local and the rest of the special ranges.
  ..."10.0.0.1 10.255.255.255 167772161 0xa000001 012.0.0.1 10.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1 3232235521".split(" "),
  ..."100.64.0.1 100.127.255.255 169.254.0.1 198.18.0.1 198.19.255.255 192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1".split(" "),
  ..."224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 4294967295 [fe80::1] [fec0::1] [fc00::1] [fdff::1] [ff02::1]".split(" "),
  ..."[2001:db8::1] [3fff::1] [2001:2::1] [2001:10::1] [100::1] [4000::1] [5f00::1] [::ffff:10.0.0.1] [::2]".split(" "),
  // Names whose addresses are inside.
  ..."loop.example six.example mapped.example meta.example private.example mixed.example zone.example none.example odd.example".split(" ")
]

const answers: Record<string, ReadonlyArray<string>> = {
  "loop.example": ["127.0.0.1"],
  "six.example": ["::1"],
  "mapped.example": ["::ffff:127.0.0.1"],
  "meta.example": ["169.254.169.254"],
  "private.example": ["192.168.0.10"],
  "mixed.example": ["93.184.216.34", "2606:2800:220:1::1", "127.0.0.1"],
  "zone.example": ["fe80::1%lo"],
  "odd.example": ["0177.0.0.1"]
}
const resolve = async (hostname: string) => answers[hostname] ?? []

/** What no parser should turn into a call to the canary, whatever it thinks the host is. `C` is the canary's `host:port`. */
const hostileUrls = [
  ..."https://user@C/ https://user:pass@C/ https://:pass@C/ https://safe.example@C/ https://safe.example:443@C/ http://%40@C/".split(" "),
  ..."file:///etc/passwd file://C/ ftp://C/ gopher://C/_x ws://C/ wss://C/ javascript:alert(1) data:text/plain,x blob:http://C/x".split(
    " "
  ),
  ..."dict://C/ ldap://C/ jar:http://C!/ view-source:http://C/ //C/ /relative C ?q #f http: http:// https://".split(" "),
  ..."http:C http:/C http:\\\\C http:///C hTTp://C https:C http://[::1 http://[fe80::1%25lo]/ http://[::1%lo]/ http://C:99999/".split(" "),
  ..."http://127.0.0.256/ http://0x100000000/ http://1.2.3.4.5/ http://a..b./ http://*/ http://exa<mple/ http://a|b/".split(" "),
  " http://C/",
  "http://C/ ",
  "ht\ntp://C/",
  "http://C\r\nhost: evil/",
  "http://127.0.0.1\t/",
  "http://C/a\r\nx: y",
  "http://C/a b",
  "http://\u0000C/",
  ""
]

describe("egress guard", () => {
  it("refuses every hostile host and URL, and opens no connection", () =>
    run(
      Effect.gen(function* () {
        const { host, port, seen } = yield* canary
        // A range that is open makes the guard go on to the addresses instead of stopping at `http` and the port.
        const { call } = yield* outbound("198.41.0.4/32", { resolve })
        const urls = hostileHosts.flatMap((name) => [
          `http://${name}:${port}/`,
          `https://${name}:${port}/`,
          `http://${name}/`,
          `https://${name}/`
        ])
        urls.push(...hostileUrls.map((url) => url.replaceAll("C", host)))
        assert.isAtLeast(urls.length, 400)
        for (const url of urls) {
          const refused = yield* Effect.result(call(get(url)))
          assert.isTrue(
            Result.isFailure(refused) && refused.failure._tag === "EgressDenied",
            `${url} was not refused: ${JSON.stringify(refused)}`
          )
        }
        assert.strictEqual(seen.connections, 0)
      })
    ))

  it("reaches the canary when the operator allows it, by host, host and port, or range", () =>
    run(
      Effect.gen(function* () {
        const { host, port, seen, url } = yield* canary
        for (const allow of ["127.0.0.1", host, ` , ${host} ,`, "127.0.0.0/8", "10.0.0.0/8,127.0.0.1/32"]) {
          const { call } = yield* outbound(allow)
          assert.strictEqual((yield* call(get(url))).status, 200, allow)
        }
        const { call } = yield* outbound(`LOOP.example:${port}`, { resolve })
        assert.strictEqual((yield* call(get(`http://loop.example:${port}/`))).status, 200)
        assert.strictEqual(seen.connections, 6)
        for (const allow of ["127.0.0.1:1", "127.0.0.2", "::1/128", "127.0.0.2/32", "loop.example"]) {
          const refused = yield* Effect.flip((yield* outbound(allow)).call(get(url)))
          assert.strictEqual(refused._tag, "EgressDenied", allow)
        }
        assert.strictEqual(seen.connections, 6)
      })
    ))

  it("keeps refusing a URL with user info or another scheme while connections to its host are open", () =>
    run(
      Effect.gen(function* () {
        const { host, seen, url } = yield* canary
        const { call } = yield* outbound(host)
        yield* call(get(url))
        for (const hostile of [`http://user@${host}/`, `blob:http://${host}/x`, `https://user:pass@${host}/`, `ws://${host}/`]) {
          assert.strictEqual((yield* Effect.flip(call(get(hostile))))._tag, "EgressDenied", hostile)
        }
        assert.strictEqual(seen.connections, 1)
      })
    ))

  it("connects to the very addresses that it judged, and judges again when a name is resolved again", () =>
    run(
      Effect.gen(function* () {
        const { port, seen, server } = yield* canary
        const clock = { millis: 0 }
        const turns = [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]]
        let asked = 0
        const { call } = yield* outbound("127.0.0.1/32", { now: () => clock.millis, resolve: async () => turns[asked++]! })
        server.prependListener("request", (_request, response) => response.setHeader("connection", "close"))
        const url = `http://rebinding.example:${port}/`
        assert.strictEqual((yield* call(get(url))).status, 200)
        assert.strictEqual((yield* call(get(url))).status, 200)
        assert.deepStrictEqual([asked, seen.connections], [1, 2])
        for (const turn of [2, 3]) {
          clock.millis += 10_001
          assert.strictEqual((yield* Effect.flip(call(get(url))))._tag, "EgressDenied", `turn ${turn}`)
        }
        assert.deepStrictEqual([asked, seen.connections], [3, 2])
        clock.millis += 10_001
        assert.strictEqual((yield* call(get(url))).status, 200)
      })
    ))

  it("does not let an allow-listed name lead to cloud metadata or other link-local addresses", () =>
    run(
      Effect.gen(function* () {
        for (const address of ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "fd00:ec2::254"]) {
          const { call } = yield* outbound("erp.corp", { resolve: async () => [address] })
          assert.strictEqual((yield* Effect.flip(call(get("http://erp.corp/"))))._tag, "EgressDenied", address)
        }
      })
    ))

  it("refuses headers that break the request apart or lead it elsewhere", () =>
    run(
      Effect.gen(function* () {
        const { host, seen, url } = yield* canary
        const { call } = yield* outbound(host)
        const hostile: ReadonlyArray<readonly [string, string]> = [
          ["x-a", "1\r\nx-b: 2"],
          ["x-a", "1\nx-b: 2"],
          ["x-a", "1\u0000"],
          ["x-a", "\u2028"],
          ["x-a\r\nx-b", "1"],
          ["x a", "1"],
          ["", "1"],
          ["host", "evil.example"],
          ["Host", "evil.example"],
          ["transfer-encoding", "chunked"],
          ["content-length", "5"],
          ["connection", "upgrade"],
          ["upgrade", "websocket"],
          ["expect", "100-continue"]
        ]
        for (const [name, value] of hostile) {
          const refused = yield* Effect.flip(call(get(url, { [name]: value })))
          assert.strictEqual(refused._tag, "EgressDenied", JSON.stringify([name, value]))
        }
        assert.strictEqual(seen.connections, 0)
      })
    ))

  it("names neither path, query nor user info in a refusal", () =>
    run(
      Effect.gen(function* () {
        const { call } = yield* outbound("")
        const refused = yield* Effect.flip(call(get("https://user:s3cret@10.0.0.1/s3cret?token=s3cret#s3cret")))
        assert.notInclude(JSON.stringify(refused) + refused.message, "s3cret")
      })
    ))
})

describe("egress rules", () => {
  it("admits the public Internet by https on 443 and 8443 alone", () => {
    const admits = (url: string) => Result.isSuccess(admitUrl(new URL(url), nothingAllowed))
    for (const url of ["https://api.example.com/", "https://api.example.com:8443/", "https://1.1.1.1/", "https://[2606:4700::1111]/"]) {
      assert.isTrue(admits(url), url)
    }
    for (const url of [
      "http://api.example.com/",
      "https://api.example.com:6379/",
      "https://api.example.com:80/",
      "https://api.example.com./"
    ]) {
      assert.isFalse(admits(url), url)
    }
  })

  it("takes the first and the last address of each special range as special, and their neighbours as public", () => {
    const special = "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 172.16.0.0 172.31.255.255 192.168.255.255 198.19.255.255".split(" ")
    const open = "9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.169.0.0 198.20.0.0 223.255.255.255".split(
      " "
    )
    const openSix = "2606:4700::1111 2a00:1450:4001:82a::200e 2001:200:: 2001:4860:4860::8888 2003::1 3ffe:ffff::1".split(" ")
    for (const text of special) assert.isDefined(specialRangeOf(parseAddress(text)!), text)
    for (const text of [...open, ...openSix]) assert.isUndefined(specialRangeOf(parseAddress(text)!), text)
  })

  it("reads only strict addresses", () => {
    for (const text of [
      "1.2.3",
      "01.2.3.4",
      "1.2.3.256",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "::12345",
      "fe80::1%1",
      ":",
      ":::",
      ""
    ]) {
      assert.isUndefined(parseAddress(text), text)
    }
    assert.deepStrictEqual(parseAddress("::ffff:1.2.3.4"), { bits: 128, value: 0xffff01020304n })
    assert.deepStrictEqual(parseAddress("[2001:db8::8:1]"), parseAddress("2001:0db8:0:0:0:0:8:1"))
  })

  it("refuses an allow-list that it does not understand", () => {
    for (const text of [
      "http://a.example",
      "a.example/path",
      "a.example:",
      "a.example:0",
      "a.example:70000",
      "10.0.0.0/33",
      "10.0.0/8",
      "a b",
      "x@y",
      "*.example",
      "host."
    ]) {
      assert.isTrue(Result.isFailure(parseAllowList(text)), text)
    }
  })
})
