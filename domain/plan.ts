/** Plans: how much of each quota dimension a tenant may use. Plans are data; a space may bring its own (PRODUCT 10). */
import * as Schema from "effect/Schema"
import { slugPattern } from "./ids.ts"

/** Over which span a dimension is counted: a UTC day, a UTC minute, or what stands at the moment. */
export type QuotaWindowKind = "day" | "minute" | "standing"

/** Every dimension with its window; the short name is part of stream names and is pinned for ever. */
export const quotaDimensions = {
  events: { window: "day", label: "events per day" },
  integrations: { window: "standing", label: "active integrations" },
  flows: { window: "standing", label: "flows per tenant" },
  calls: { window: "minute", label: "API calls per minute" },
  connectors: { window: "standing", label: "connectors per tenant" },
  sessions: { window: "day", label: "agent sessions per day" },
  tokens: { window: "day", label: "LLM tokens per day" },
  megabytes: { window: "standing", label: "storage in MB" }
} as const satisfies Record<string, { readonly window: QuotaWindowKind; readonly label: string }>

export type QuotaDimension = keyof typeof quotaDimensions
export const QuotaDimension = Schema.Literals(Object.keys(quotaDimensions) as ReadonlyArray<QuotaDimension>)

/** Dimensions that are counted per window; what stands at the moment is counted by who holds it. */
export type CountedDimension = {
  [Dimension in QuotaDimension]: (typeof quotaDimensions)[Dimension]["window"] extends "standing" ? never : Dimension
}[QuotaDimension]
export const CountedDimension = Schema.Literals(
  (Object.keys(quotaDimensions) as ReadonlyArray<QuotaDimension>).filter(
    (dimension): dimension is CountedDimension => quotaDimensions[dimension].window !== "standing"
  )
)

export type PlanName = typeof PlanName.Type
export const PlanName = Schema.String.check(
  Schema.isPattern(slugPattern, { expected: "lower-case letters, digits and dashes, at most 64" })
).pipe(Schema.brand("PlanName"))

/** Units per window; null: unlimited. */
export type PlanLimits = Readonly<Record<QuotaDimension, number | null>>
export type Plans = Readonly<Record<string, PlanLimits>>

/** The plans of PRODUCT 10, in the order of the dimensions above. */
export const builtInPlans: Plans = {
  starter: { events: 1_000, integrations: 5, flows: 10, calls: 60, connectors: 3, sessions: 10, tokens: 100_000, megabytes: 100 },
  growth: { events: 50_000, integrations: 50, flows: 100, calls: 600, connectors: 20, sessions: 100, tokens: 1_000_000, megabytes: 1_000 },
  enterprise: {
    events: null,
    integrations: null,
    flows: null,
    calls: 6_000,
    connectors: null,
    sessions: null,
    tokens: 10_000_000,
    megabytes: 10_000
  }
}
export const defaultPlan = PlanName.make("starter")

export class PlanNotFound extends Schema.TaggedError<PlanNotFound>()("PlanNotFound", {
  plan: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message() {
    return `There is no plan "${this.plan}". Nothing was changed. Choose one of: ${this.known.join(", ")}.`
  }
}

export const planOf = (plans: Plans, name: string): PlanLimits | undefined => (Object.hasOwn(plans, name) ? plans[name] : undefined)
