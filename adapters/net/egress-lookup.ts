/** Names to addresses for calls out: resolved, all of them judged, and only these given to the connection (no second look-up). */
import { lookup as systemLookup } from "node:dns"
import { isIPv6, type LookupFunction } from "node:net"
import { type Destination, type EgressAllowList, refuseAddresses } from "./egress.ts"

/** Every address of a name. Rejects when there is none. */
export type Resolve = (hostname: string) => Promise<ReadonlyArray<string>>

/** The guard refused the addresses of a name. It passes through the socket's error event, hence an Error. */
export class AddressRefused extends Error {
  readonly code = "TRIBUTARY_ADDRESS_REFUSED"
}

export const systemResolve: Resolve = (hostname) =>
  new Promise((resolve, reject) =>
    systemLookup(hostname, { all: true }, (error, addresses) =>
      error === null ? resolve(addresses.map(({ address }) => address)) : reject(error)
    )
  )

/** An answer serves this long: short against a rebinding name, long enough for a burst of connections. */
const ttlMillis = 10_000
const namesMax = 4_096

/** Concurrent questions for a name share one answer; failures are not kept. */
export const cachedResolve = (resolve: Resolve, now: () => number): Resolve => {
  const kept = new Map<string, { readonly until: number; readonly answer: Promise<ReadonlyArray<string>> }>()
  return (hostname) => {
    const known = kept.get(hostname)
    if (known !== undefined && known.until > now()) return known.answer
    const answer = resolve(hostname)
    kept.delete(hostname)
    if (kept.size >= namesMax) kept.delete(kept.keys().next().value!)
    kept.set(hostname, { until: now() + ttlMillis, answer })
    answer.catch(() => {
      if (kept.get(hostname)?.answer === answer) kept.delete(hostname)
    })
    return answer
  }
}

/** The look-up that a connection to this destination uses. It is not asked for literal addresses: those were judged with the URL. */
export const guardedLookup =
  (destination: Destination, allow: EgressAllowList, resolve: Resolve): LookupFunction =>
  (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const refused = refuseAddresses(destination, addresses, allow)
        if (refused !== undefined) return callback(new AddressRefused(refused), [])
        const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
        if (options.all === true) return callback(null, found)
        return callback(null, found[0]!.address, found[0]!.family)
      },
      (error: Error) => callback(error, [])
    )
  }
