/** The egress guard's rules: which URLs and addresses may be called. Pure; `egress-lookup.ts` applies them to names. */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import { type AddressRange, isWithin, parseAddress, parseRange, rangeClosedToNames, specialRangeOf } from "./address.ts"

/** What the operator opens beyond the public Internet. */
export interface EgressAllowList {
  /** A host as a URL writes it, and the ports that are open; empty means every port. */
  readonly hosts: ReadonlyMap<string, ReadonlySet<number>>
  readonly ranges: ReadonlyArray<AddressRange>
}

export class EgressAllowListInvalid extends Data.TaggedError("EgressAllowListInvalid")<{ readonly entry: string }> {
  override get message() {
    return `TRIBUTARY_EGRESS_ALLOW holds ${JSON.stringify(this.entry)}, which is no host, host:port or CIDR range. Write for example: erp.corp,10.1.2.3:8080,192.168.7.0/24,[fd00::5]:8443.`
  }
}

const parseHost = (entry: string): { readonly host: string; readonly port: number | undefined } | undefined => {
  const match = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\*]+)(?::(\d{1,5}))?$/i.exec(entry)
  const url = match === null ? null : URL.parse(`http://${match[1]}/`)
  if (match === null || url === null || url.hostname.endsWith(".")) return undefined
  const port = match[2] === undefined ? undefined : Number(match[2])
  return port !== undefined && (port < 1 || port > 65_535) ? undefined : { host: url.hostname, port }
}

/** Reads `TRIBUTARY_EGRESS_ALLOW`: a comma list of host, host:port and CIDR. Without a port, every port of the host is open. */
export const parseAllowList = (text: string): Result.Result<EgressAllowList, EgressAllowListInvalid> => {
  const hosts = new Map<string, Set<number>>()
  const everyPort = new Set<string>()
  const ranges: Array<AddressRange> = []
  for (const entry of text.split(",").map((part) => part.trim())) {
    if (entry === "") continue
    const range = parseRange(entry)
    const parsed = range === undefined ? parseHost(entry) : undefined
    if (range !== undefined) ranges.push(range)
    else if (parsed === undefined) return Result.fail(new EgressAllowListInvalid({ entry }))
    else if (parsed.port === undefined) everyPort.add(parsed.host)
    else hosts.set(parsed.host, (hosts.get(parsed.host) ?? new Set()).add(parsed.port))
  }
  for (const host of everyPort) hosts.set(host, new Set())
  return Result.succeed({ hosts, ranges })
}

export const nothingAllowed: EgressAllowList = { hosts: new Map(), ranges: [] }

/** A URL that passed every check that needs no name resolution. */
export interface Destination {
  readonly hostname: string
  /** Scheme and port are the public Internet's (https on 443 or 8443). Others need an allow-listed host or range. */
  readonly ordinary: boolean
  /** The operator listed this host, with this port. */
  readonly listed: boolean
}

const ordinaryPorts = new Set(["", "443", "8443"])
const metadataNames = new Set(["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"])
const notListed = "and it is not in the operator's allow-list (TRIBUTARY_EGRESS_ALLOW)"

const isListed = (allow: EgressAllowList, url: URL): boolean => {
  const ports = allow.hosts.get(url.hostname)
  if (ports === undefined) return false
  return ports.size === 0 || ports.has(url.port === "" ? (url.protocol === "http:" ? 80 : 443) : Number(url.port))
}

/** Scheme, user info, port, name and literal address. The reason of a refusal is fit for the caller's eyes. */
export const admitUrl = (url: URL, allow: EgressAllowList): Result.Result<Destination, string> => {
  const { hostname, protocol } = url
  if (protocol !== "https:" && protocol !== "http:") return Result.fail(`only https and http URLs are called, not ${protocol.slice(0, 20)}`)
  if (url.username !== "" || url.password !== "") return Result.fail("the URL carries a user name or a password; use a header instead")
  if (hostname.endsWith(".")) return Result.fail("the host name ends with a dot")
  const listed = isListed(allow, url)
  const ordinary = protocol === "https:" && ordinaryPorts.has(url.port)
  if (!listed) {
    if (metadataNames.has(hostname)) return Result.fail(`the host is a cloud metadata service, ${notListed}`)
    if (hostname === "localhost" || hostname.endsWith(".localhost")) return Result.fail(`the host is this machine, ${notListed}`)
    if (!ordinary && allow.ranges.length === 0) return Result.fail(notOrdinary(url))
  }
  const destination = { hostname, ordinary, listed }
  const refused = parseAddress(hostname) === undefined ? undefined : refuseAddresses(destination, [hostname], allow)
  return refused === undefined ? Result.succeed(destination) : Result.fail(refused)
}

const notOrdinary = (url: { readonly protocol: string }) =>
  url.protocol === "http:" ? `the URL is plain http, ${notListed}` : `the port is neither 443 nor 8443, ${notListed}`

/** Why these addresses of a destination may not be called, all of them together; undefined when every one may. */
export const refuseAddresses = (destination: Destination, addresses: ReadonlyArray<string>, allow: EgressAllowList): string | undefined => {
  if (addresses.length === 0) return "the host has no address"
  for (const text of addresses) {
    const reason = refuseAddress(destination, text, allow)
    if (reason !== undefined) return reason
  }
  return undefined
}

const refuseAddress = (destination: Destination, text: string, allow: EgressAllowList): string | undefined => {
  const address = parseAddress(text)
  if (address === undefined) return "the host has an address that is not understood"
  if (allow.ranges.some((range) => isWithin(address, range))) return undefined
  const literal = parseAddress(destination.hostname) !== undefined
  if (destination.listed) {
    const closed = literal ? undefined : rangeClosedToNames(address)
    return closed === undefined ? undefined : `the host leads to ${closed}; only the address itself or its range can be allow-listed`
  }
  const special = specialRangeOf(address)
  if (special !== undefined) return `the host ${literal ? "is" : "leads to"} ${special}, ${notListed}`
  return destination.ordinary ? undefined : `plain http and other ports than 443 and 8443 are refused for it, ${notListed}`
}
