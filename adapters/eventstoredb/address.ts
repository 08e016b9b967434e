/** Where the store is and how it is entered: the URL, checked before the client sees it, and credentials from a file. */
import { readFileSync } from "node:fs"
import { StoreRefused } from "./refusal.ts"

export interface StoreAddress {
  /** `esdb://host:port[,host:port][?option=value]` or `esdb+discover://…`; may hold `user:password@`. */
  readonly url: string
  /** A file with one line `user:password`; instead of credentials in the URL. */
  readonly credentialsFile?: string | undefined
}
export interface CheckedAddress {
  /** As the client takes it: a secret. */
  readonly connectionString: string
  /** Hosts and ports alone: for messages. */
  readonly endpoint: string
}

/** Options of the client that change nothing of what we rely on. */
const allowedOptions = new Set([
  "tls",
  "tlscafile",
  "usercertfile",
  "userkeyfile",
  "maxdiscoverattempts",
  "connectionname",
  "defaultdeadline",
  "discoveryinterval",
  "gossiptimeout",
  "nodepreference",
  "keepaliveinterval",
  "keepalivetimeout"
])
const shape = /^(?<protocol>esdb(?:\+discover)?):\/\/(?:(?<credentials>[^@/?]*)@)?(?<hosts>[^/?@]+)\/?(?:\?(?<options>.*))?$/u
const host = /^[A-Za-z0-9._-]+(?::\d{1,5})?$/u
const expected = "esdb://[user:password@]host:port[,host:port][?tls=true&tlsCAFile=…] or esdb+discover://…"

const refuse = (reason: string) => new StoreRefused({ kind: "WrongUrl", reason: `${reason} Nothing was changed.` })

/** Throws `StoreRefused`; no message holds a part of the credentials. */
export const checkAddress = ({ url, credentialsFile }: StoreAddress): CheckedAddress => {
  const parts = shape.exec(url.trim())?.groups
  if (parts === undefined) throw refuse(`The journal's URL is not one of EventStoreDB. Give ${expected}.`)
  const { protocol, credentials, options } = parts
  const hosts = parts["hosts"]!
  for (const part of hosts.split(",")) if (!host.test(part)) throw refuse(`The journal's URL names no host in "${part}". Give ${expected}.`)
  for (const option of (options ?? "").split("&")) {
    const name = option.split("=")[0]!
    if (option !== "" && !allowedOptions.has(name.toLowerCase().replace(/[_-]/gu, "")))
      throw refuse(`The option "${name}" of the journal's URL is not supported. Remove it.`)
  }
  if (credentials !== undefined && !/^[^:]+:.+$/u.test(credentials))
    throw refuse("The journal's URL has a user without a password, or the other way round. Give user:password@ or a credentials file.")
  const given = credentialsFile === undefined ? credentials : readCredentials(credentialsFile, credentials !== undefined)
  const entry = given === undefined ? "" : `${given}@`
  const query = options === undefined || options === "" ? "" : `?${options}`
  return { connectionString: `${protocol}://${entry}${hosts}${query}`, endpoint: hosts }
}

const readCredentials = (file: string, alsoInUrl: boolean): string => {
  if (alsoInUrl) throw refuse("The journal's credentials are in its URL and in a file. Give them once.")
  let line: string
  try {
    line = readFileSync(file, "utf8").trim()
  } catch (cause) {
    throw refuse(`The journal's credentials file ${file} cannot be read (${(cause as Error).message}).`)
  }
  const colon = line.indexOf(":")
  if (colon < 1 || line.includes("\n")) throw refuse(`The journal's credentials file ${file} must hold one line user:password.`)
  return `${encodeURIComponent(line.slice(0, colon))}:${encodeURIComponent(line.slice(colon + 1))}`
}
