/** Events are forever: every version of every event has a stored sample that today's code still reads. */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { type AnyEventFamily, allEvents } from "#domain/registry.ts"

interface Sample {
  readonly type: string
  readonly version: number
  readonly data: Record<string, unknown>
}
const folder = new URL("./samples/", import.meta.url)
const samples = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .flatMap((file) => JSON.parse(readFileSync(new URL(file, folder), "utf8")) as ReadonlyArray<Sample>)

const domain = new URL("../../domain/", import.meta.url)
const isFamily = (value: unknown): value is AnyEventFamily =>
  typeof value === "object" && value !== null && "decode" in value && "versionOf" in value
const eventsOf = (value: unknown): unknown => (typeof value === "object" && value !== null && "events" in value ? value.events : undefined)
const exported = await Promise.all(
  readdirSync(domain)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => import(new URL(file, domain).href) as Promise<Record<string, unknown>>)
)
const families = exported.flatMap((module) => Object.values(module).map(eventsOf).filter(isFamily))

describe("stored samples", () => {
  it("exist once for every version of every event", () => {
    const wanted = families.flatMap((family) =>
      family.types.flatMap((type) => Array.from({ length: family.versionOf(type) }, (_, index) => `${type} v${index + 1}`))
    )
    assert.deepStrictEqual(samples.map(({ type, version }) => `${type} v${version}`).sort(), wanted.sort())
  })
  it("cover a registry that names every aggregate of the domain", () => {
    assert.deepStrictEqual([...allEvents.keys()].sort(), families.flatMap(({ types }) => types).sort())
  })
  for (const { type, version, data } of samples)
    it(`are read by today's code: ${type} v${version}`, () => {
      const family = families.find(({ types }) => types.includes(type))!
      const event = family.decode(type, version, data)
      assert.strictEqual(event._tag, type)
      if (version === family.versionOf(type)) assert.deepStrictEqual(JSON.parse(family.encode(event)), data)
    })
})
