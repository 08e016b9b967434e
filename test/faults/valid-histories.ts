/** Random valid histories of every aggregate in the domain: random commands, of which the deciders' own answers are kept. */
import { readdirSync } from "node:fs"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Aggregate } from "#domain/decider.ts"
import { settingCatalogue } from "#domain/setting-catalogue.ts"
import type { Random } from "./random.ts"

// biome-ignore lint/suspicious/noExplicitAny: a list of aggregates has different states, commands and events.
export type AnyAggregate = Aggregate<any, any, any, any>
export interface GeneratedAggregate {
  readonly aggregate: AnyAggregate
  /** Commands that refer to the same few ids, so that they meet. */
  readonly commands: ReadonlyArray<unknown>
}

const commandsSampled = 600
/** Names of fields that hold an id of something. */
const idField = /Id$|^(?:step|field|key|owner|target|contentHash|consumers|name|steps)$/u
/** Names of fields that count from 1, and small limits. */
const countField = /^(?:attempt|generation|version|times|epoch|limit)$/u
/** Commands that end a stream, or nearly: they come seldom, so that something happens before. */
const ending = /^(?:Finish|Fail|Cancel|Quarantine|Remove|Revoke|Archive|Expire|DeadLetter|Refuse)/u
const endingShare = 0.1
const idsPerField = 3

/** Settings are named by the catalogue: what is sampled is hardly ever one of them. */
const settingCommands = Object.entries(settingCatalogue).flatMap(([key, { default: value }]) => {
  const place = { level: "tenant", key, by: "system:test", at: 1 }
  return [
    { _tag: "SetSetting", ...place, value },
    { _tag: "ClearSetting", ...place }
  ]
})

const isAggregate = (value: unknown): value is AnyAggregate =>
  typeof value === "object" && value !== null && "decide" in value && "evolve" in value && "kind" in value

/** Lets commands meet: each id is one of the first few of its field, each count is small. */
const meeting = () => {
  const known = new Map<string, Array<string>>()
  const pooled = (field: string, text: string): string => {
    const ids = known.get(field) ?? []
    known.set(field, ids)
    if (ids.length < idsPerField && !ids.includes(text)) ids.push(text)
    return ids.includes(text) ? text : ids[text.length % ids.length]!
  }
  const visit = (field: string, value: unknown): unknown => {
    if (typeof value === "string") return idField.test(field) ? pooled(field, value) : value
    if (typeof value === "number") return countField.test(field) ? 1 + (Math.abs(Math.trunc(value)) % 3) : value
    if (Array.isArray(value)) return value.map((item) => visit(field, item))
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, name === "_tag" ? part : visit(name, part)]))
  }
  return (command: unknown) => visit("", command)
}

/** Every aggregate that a file of the domain exports, with commands of its union. */
export const generateAggregates = async (seed: number): Promise<ReadonlyArray<GeneratedAggregate>> => {
  const domain = new URL("../../domain/", import.meta.url)
  const generated: Array<GeneratedAggregate> = []
  for (const file of readdirSync(domain).filter((name) => name.endsWith(".ts"))) {
    const exported = (await import(new URL(file, domain).href)) as Record<string, unknown>
    for (const [name, aggregate] of Object.entries(exported)) {
      if (!isAggregate(aggregate)) continue
      const schema = exported[`${name[0]!.toUpperCase()}${name.slice(1)}Command`]
      if (!Schema.isSchema(schema)) throw new Error(`${file} exports ${name}, but no command schema of that name.`)
      const arbitrary = Arbitrary.schema(schema as Schema.Codec<unknown, unknown>)
      const commands = await Effect.runPromise(Effect.orDie(Arbitrary.sampleEffect(arbitrary, { count: commandsSampled, seed })))
      const named = aggregate.kind === "settings" ? settingCommands : []
      generated.push({ aggregate, commands: [...commands.map(meeting()), ...named] })
    }
  }
  return generated
}

export interface Step {
  readonly state: unknown
  readonly event: { readonly _tag: string }
}

const encodes = ({ events }: AnyAggregate, event: { readonly _tag: string }): boolean => {
  try {
    events.encode(event)
    return true
  } catch {
    return false
  }
}

/** The events that random commands lead to, each with the state after it. */
export const validHistory = ({ aggregate, commands }: GeneratedAggregate, random: Random, tries: number): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  let state = aggregate.initialState
  for (let command = 0; command < tries; command++) {
    const wanted = random.oneOf(commands) as { readonly _tag: string }
    if (ending.test(wanted._tag) && random.next() >= endingShare) continue
    const decided = aggregate.decide(wanted, state) as Result.Result<ReadonlyArray<{ _tag: string }>, unknown>
    if (Result.isFailure(decided) || !decided.success.every((event) => encodes(aggregate, event))) continue
    for (const event of decided.success) {
      state = aggregate.evolve(state, event)
      steps.push({ state, event })
    }
  }
  return steps
}
