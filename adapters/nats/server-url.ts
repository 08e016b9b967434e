/** What a NATS URL says: servers, credentials and certificates. */
import { readFileSync } from "node:fs"
import { credsAuthenticator, type NodeConnectionOptions } from "@nats-io/transport-node"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

export interface ServerUrl {
  /** Host and port of each server, without credentials: what messages may show. */
  readonly shown: string
  readonly options: NodeConnectionOptions
}

const defaultPort = "4222"
const schemes = ["nats:", "tls:"]
/** Files that the URL may name. */
const files = ["credentials", "ca", "certificate", "key"] as const
const form =
  "Write nats://[user:password@ or token@]host[:port][,host…], tls:// to insist on TLS, and ?credentials=, ca=, certificate=, key= for files"

/** `a:1,b:2` of `nats://a:1,nats://b:2`; the URL parser takes one host at a time. */
const splitServers = (text: string): { readonly first: string; readonly others: ReadonlyArray<string>; readonly query: string } => {
  const at = text.indexOf("?")
  const [first, ...others] = (at < 0 ? text : text.slice(0, at)).split(",")
  return {
    first: first!,
    others: others.map((other) => (other.includes("://") ? other : `nats://${other}`)),
    query: at < 0 ? "" : text.slice(at)
  }
}

/** A credentials file of NATS's own, or one line `user:password`. */
const readCredentials = (file: string): NodeConnectionOptions => {
  const content = readFileSync(file)
  const text = content.toString("utf8").trim()
  const colon = text.indexOf(":")
  if (text.includes("\n") || colon < 1) return { authenticator: credsAuthenticator(content) }
  return { user: text.slice(0, colon), pass: text.slice(colon + 1) }
}

const credentialsOf = (url: URL, credentialsFile: string | null): NodeConnectionOptions => {
  if (credentialsFile !== null) return readCredentials(credentialsFile)
  if (url.username === "") return {}
  const user = decodeURIComponent(url.username)
  return url.password === "" ? { token: user } : { user, pass: decodeURIComponent(url.password) }
}

const tlsOf = (url: URL, query: URLSearchParams): NodeConnectionOptions => {
  const [caFile, certFile, keyFile] = [query.get("ca"), query.get("certificate"), query.get("key")]
  if (url.protocol !== "tls:" && caFile === null && certFile === null) return {}
  for (const file of [caFile, certFile, keyFile]) if (file !== null) readFileSync(file)
  return {
    tls: {
      ...(caFile === null ? {} : { caFile }),
      ...(certFile === null ? {} : { certFile }),
      ...(keyFile === null ? {} : { keyFile })
    }
  }
}

/** Fails with a sentence that holds no credential. Files are read here, so that a missing one is named. */
export const parseServerUrl = (secret: Redacted.Redacted<string>, credentialsFile?: string): Result.Result<ServerUrl, string> => {
  const { first, others, query } = splitServers(Redacted.value(secret))
  if (!URL.canParse(first + query) || others.some((other) => !URL.canParse(other))) return Result.fail(`The URL cannot be read. ${form}.`)
  const url = new URL(first + query)
  const urls = [url, ...others.map((other) => new URL(other))]
  if (urls.some(({ protocol, hostname }) => !schemes.includes(protocol) || hostname === ""))
    return Result.fail(`The URL is not one of a NATS server. ${form}.`)
  const unknown = [...url.searchParams.keys()].find((name) => !files.includes(name as (typeof files)[number]))
  if (unknown !== undefined) return Result.fail(`The URL has an unknown setting "${unknown}". ${form}.`)
  const servers = urls.map(({ hostname, port }) => `${hostname}:${port || defaultPort}`)
  try {
    return Result.succeed({
      shown: servers.join(", "),
      options: { servers, ...credentialsOf(url, credentialsFile ?? url.searchParams.get("credentials")), ...tlsOf(url, url.searchParams) }
    })
  } catch (cause) {
    const { code, path } = cause as NodeJS.ErrnoException
    return Result.fail(path === undefined ? "The credentials cannot be read." : `The file ${path} cannot be read (${code}).`)
  }
}
