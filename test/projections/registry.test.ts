import { readdirSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { allEvents } from "#domain/registry.ts"
import type { AnyProjection } from "#projections/projection.ts"
import { projections } from "#projections/registry.ts"

const folder = new URL("../../projections/", import.meta.url)
const isProjection = (value: unknown): value is AnyProjection =>
  typeof value === "object" && value !== null && "evolve" in value && "sorts" in value
const exported = await Promise.all(
  readdirSync(folder)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => import(new URL(file, folder).href) as Promise<Record<string, unknown>>)
)

describe("the projections", () => {
  it("are all in the registry, each under a name of its own", () => {
    const found = exported.flatMap((module) => Object.values(module).filter(isProjection)).map(({ name }) => name)
    assert.deepStrictEqual(projections.map(({ name }) => name).sort(), found.sort())
    assert.strictEqual(new Set(found).size, found.length)
  })
  for (const { name, events, fields, sorts } of projections)
    it(`want events that exist, and sort by fields that are declared: ${name}`, () => {
      for (const type of events) assert.isTrue(allEvents.has(type), type)
      for (const field of sorts.flat()) assert.property(fields, field)
    })
})
