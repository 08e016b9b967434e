/** Names of stored generations, and which of them serves, which is being made, and which can go. */
import type { AnyProjection } from "#projections/projection.ts"
import type { ModelDefinition, StoredModel } from "./ports/read-models.ts"

/** A stored generation's name: `runs@1`, and `runs@1+2` for the second one of the same version, made by a rebuild. */
export interface ModelName {
  readonly name: string
  readonly version: number
  readonly generation: number
}

export const modelText = ({ name, version, generation }: ModelName): string =>
  generation === 1 ? `${name}@${version}` : `${name}@${version}+${generation}`

export const parseModel = (model: string): ModelName | undefined => {
  const found = /^(.+)@(\d+)(?:\+(\d+))?$/u.exec(model)
  return found === null ? undefined : { name: found[1]!, version: Number(found[2]), generation: Number(found[3] ?? 1) }
}

export const definitionOf = (projection: AnyProjection, model: string): ModelDefinition => ({
  model,
  fields: projection.fields as ModelDefinition["fields"],
  sorts: projection.sorts,
  ...(projection.acrossSpace === true ? { acrossSpace: true } : {})
})

const newestFirst = (a: { readonly name: ModelName }, b: { readonly name: ModelName }) =>
  b.name.version - a.name.version || b.name.generation - a.name.generation

/** Whether what is stored has today's fields and sorts. */
const sameDefinition = (projection: AnyProjection, stored: ModelDefinition) =>
  JSON.stringify(definitionOf(projection, stored.model)) === JSON.stringify(stored)

/** A name for a new generation of the present version. */
export const nextGeneration = (projection: AnyProjection, stored: ReadonlyArray<{ readonly model: string }>): string => {
  let generation = 1
  for (const { model } of stored) {
    const name = parseModel(model)
    if (name?.name === projection.name && name.version === projection.version) generation = Math.max(generation, name.generation + 1)
  }
  return modelText({ name: projection.name, version: projection.version, generation })
}

export interface Choice {
  /** The newest complete generation that today's code can show. */
  readonly serving: string | null
  /** The generation to make or to go on with; null when the serving one is of the present version and no rebuild is under way. */
  readonly building: string | null
  readonly drop: ReadonlyArray<string>
}

/**
 * What to do with the stored generations of a projection at start. Those of a newer release are left alone: it goes on with
 * them from their checkpoint when it comes back.
 */
export const choose = (projection: AnyProjection, stored: ReadonlyArray<StoredModel>): Choice => {
  const mine = stored
    .flatMap((model) => {
      const name = parseModel(model.model)
      return name?.name === projection.name && name.version <= projection.version ? [{ ...model, name }] : []
    })
    .sort(newestFirst)
  const readable = projection.readableSince ?? projection.version
  const serving = mine.find(({ complete, name }) => complete && name.version >= readable)
  const ofToday = ({ name, definition }: (typeof mine)[number]) =>
    name.version === projection.version && sameDefinition(projection, definition)
  const current = serving !== undefined && ofToday(serving)
  const begun = mine.find((model) => !model.complete && ofToday(model) && (!current || model.name.generation > serving.name.generation))
  const building = begun?.model ?? (current ? null : nextGeneration(projection, stored))
  const kept = new Set([serving?.model, building])
  return { serving: serving?.model ?? null, building, drop: mine.map(({ model }) => model).filter((model) => !kept.has(model)) }
}
