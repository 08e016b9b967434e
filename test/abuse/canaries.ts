/** Texts that must not turn up anywhere, and the forms in which they could. */
import { randomBytes } from "node:crypto"

export interface Canary {
  /** What it is, for the finding. */
  readonly name: string
  readonly text: string
}

/** Every planted text begins with it: where not even this is found, in no form, none of them is. */
const marker = "Zq8vK2xW5nT3bJ7"
/** Unmistakable, and with characters that every encoding writes in its own way. */
export const canary = (name: string): Canary => ({
  name,
  text: `${marker}${randomBytes(6).toString("hex")}/+"ü&${name}=${randomBytes(6).toString("hex")}`
})

const base64Alignments = (bytes: Buffer): ReadonlyArray<string> =>
  [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString("base64")
      .replace(/=+$/u, "")
    // The characters at the edges depend on the neighbours.
    return text.slice(offset === 0 ? 0 : offset + 1, -2)
  })

const jsonAscii = (text: string) =>
  JSON.stringify(text)
    .slice(1, -1)
    .replace(/[\u0080-\uffff]/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)
const lowerEscapes = (text: string) => text.replace(/%[0-9A-F]{2}/gu, (escape) => escape.toLowerCase())

/** Raw, escaped for JSON, URL and HTML, in base64 at each alignment, and in hex. */
export const formsOf = ({ text }: Canary): ReadonlyArray<string> => {
  const bytes = Buffer.from(text)
  const base64 = base64Alignments(bytes)
  const url = encodeURIComponent(text)
  const forms = [
    text,
    bytes.toString("latin1"),
    JSON.stringify(text).slice(1, -1),
    jsonAscii(text),
    jsonAscii(text).replaceAll("/", "\\/"),
    url,
    lowerEscapes(url),
    text.replaceAll("&", "&amp;").replaceAll('"', "&quot;"),
    ...base64,
    ...base64.map((form) => form.replaceAll("+", "-").replaceAll("/", "_")),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase()
  ]
  return [...new Set(forms)]
}

interface Place {
  readonly where: string
  readonly bytes: Buffer
}

interface Needle {
  readonly name: string
  readonly bytes: Buffer
}
const needlesOf = (one: Canary): ReadonlyArray<Needle> => formsOf(one).map((form) => ({ name: one.name, bytes: Buffer.from(form) }))
const markers = needlesOf({ name: "the marker", text: marker })

/** `<canary> in <place>` for each form that was found. */
export const hitsIn = (places: ReadonlyArray<Place>, canaries: ReadonlyArray<Canary>): ReadonlyArray<string> => {
  const planted = canaries.filter(({ text }) => text.startsWith(marker)).flatMap(needlesOf)
  const others = canaries.filter(({ text }) => !text.startsWith(marker)).flatMap(needlesOf)
  return places.flatMap(({ where, bytes }) => {
    const needles = markers.some((one) => bytes.includes(one.bytes)) ? [...planted, ...others] : others
    return needles.flatMap((needle) => {
      const at = bytes.indexOf(needle.bytes)
      if (at < 0) return []
      const around = bytes.subarray(Math.max(0, at - 60), at + needle.bytes.length + 20).toString()
      return [`${needle.name} in ${where}: …${around}…`]
    })
  })
}
