/** IP addresses as numbers, ranges of them, and which are not the public Internet's (IANA's special-purpose registries). */

export interface Address {
  readonly bits: 32 | 128
  readonly value: bigint
}
export interface AddressRange extends Address {
  readonly prefixBits: number
}

const parseV4 = (text: string): bigint | undefined => {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) return undefined
  return parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

const parseGroups = (text: string): ReadonlyArray<bigint> | undefined => {
  if (text === "") return []
  const groups: Array<bigint> = []
  const parts = text.split(":")
  for (const [index, part] of parts.entries()) {
    const dotted = index === parts.length - 1 && part.includes(".") ? parseV4(part) : undefined
    if (dotted !== undefined) groups.push(dotted >> 16n, dotted & 0xffffn)
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(BigInt(`0x${part}`))
    else return undefined
  }
  return groups
}

const parseV6 = (text: string): bigint | undefined => {
  const halves = text.split("::")
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!)
  const tail = halves.length === 2 ? parseGroups(halves[1]!) : []
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  return [...head, ...Array<bigint>(missing).fill(0n), ...tail].reduce((value, group) => (value << 16n) | group, 0n)
}

/** Strict: dotted decimal, or RFC 4291 text with or without brackets. No zone, no octal, no short forms. */
export const parseAddress = (text: string): Address | undefined => {
  const inner = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text
  const v6 = inner.includes(":")
  const value = v6 ? parseV6(inner) : parseV4(inner)
  return value === undefined ? undefined : { bits: v6 ? 128 : 32, value }
}

/** `10.0.0.0/8`, `fd00::/8`: CIDR notation. Bits after the prefix are ignored. */
export const parseRange = (text: string): AddressRange | undefined => {
  const [head, tail, ...more] = text.split("/")
  const address = parseAddress(head ?? "")
  if (address === undefined || tail === undefined || more.length > 0 || !/^\d{1,3}$/.test(tail)) return undefined
  const prefixBits = Number(tail)
  return prefixBits > address.bits ? undefined : { ...address, prefixBits }
}

export const isWithin = (address: Address, range: AddressRange): boolean => {
  const rest = BigInt(range.bits - range.prefixBits)
  return address.bits === range.bits && address.value >> rest === range.value >> rest
}

const range = (cidr: string, name: string) => ({ ...parseRange(cidr)!, name })

/** Where no allow-listed name may lead: only an address or a range that the operator wrote down opens these. */
const neverByName = [
  range("0.0.0.0/8", "an unspecified address"),
  range("169.254.0.0/16", "a link-local address (cloud metadata)"),
  range("100.100.100.200/32", "a cloud metadata address"),
  range("168.63.129.16/32", "a cloud platform address"),
  range("192.0.0.0/24", "a protocol-assigned address"),
  range("224.0.0.0/4", "a multicast address"),
  range("240.0.0.0/4", "a reserved or broadcast address"),
  range("::/128", "an unspecified address"),
  range("fe80::/10", "a link-local address"),
  range("fd00:ec2::/32", "a cloud metadata address"),
  range("ff00::/8", "a multicast address")
]

const notPublic = [
  ...neverByName,
  range("10.0.0.0/8", "a private address"),
  range("100.64.0.0/10", "a shared address (carrier-grade NAT)"),
  range("127.0.0.0/8", "a loopback address"),
  range("172.16.0.0/12", "a private address"),
  range("192.0.2.0/24", "a documentation address"),
  range("192.31.196.0/24", "a special-purpose address"),
  range("192.52.193.0/24", "a special-purpose address"),
  range("192.88.99.0/24", "a 6to4 relay address"),
  range("192.168.0.0/16", "a private address"),
  range("192.175.48.0/24", "a special-purpose address"),
  range("198.18.0.0/15", "a benchmarking address"),
  range("198.51.100.0/24", "a documentation address"),
  range("203.0.113.0/24", "a documentation address"),
  range("::1/128", "a loopback address"),
  range("::/96", "an IPv4-compatible address"),
  range("::ffff:0:0/96", "an IPv4-mapped address"),
  range("::ffff:0:0:0/96", "an IPv4-translated address"),
  range("64:ff9b::/96", "a NAT64 address"),
  range("64:ff9b:1::/48", "a local NAT64 address"),
  range("100::/64", "a discard address"),
  range("2001::/32", "a Teredo address"),
  range("2001::/23", "a protocol-assigned address"),
  range("2001:db8::/32", "a documentation address"),
  range("2002::/16", "a 6to4 address"),
  range("2620:4f:8000::/48", "a special-purpose address"),
  range("3fff::/20", "a documentation address"),
  range("fc00::/7", "a private address"),
  range("fec0::/10", "a site-local address")
]

const globalUnicastV6 = parseRange("2000::/3")!

/** What keeps an address from being the public Internet's, in words; undefined for a public one. */
export const specialRangeOf = (address: Address): string | undefined =>
  notPublic.find((special) => isWithin(address, special))?.name ??
  (address.bits === 128 && !isWithin(address, globalUnicastV6) ? "not a public address" : undefined)

export const rangeClosedToNames = (address: Address): string | undefined => neverByName.find((special) => isWithin(address, special))?.name
