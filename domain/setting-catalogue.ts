/** The catalogue of settings: every key with its schema, default, meaning and the levels that may set it. */
import * as Schema from "effect/Schema"

/** From the least to the most specific: the more specific wins (PRODUCT 11). */
export const settingLevels = ["platform", "space", "tenant", "integration", "flow"] as const
export type SettingLevel = (typeof settingLevels)[number]
export const SettingLevel = Schema.Literals(settingLevels)

export type SettingValue = typeof SettingValue.Type
export const SettingValue = Schema.Union([Schema.String, Schema.Finite, Schema.Boolean])

export interface SettingDefinition<A extends SettingValue> {
  readonly schema: Schema.Codec<A, A>
  readonly default: A
  readonly description: string
  readonly levels: ReadonlyArray<SettingLevel>
}

const setting = <A extends SettingValue>(definition: SettingDefinition<A>): SettingDefinition<A> => definition

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const anywhere = settingLevels
const upToTenant = ["platform", "space", "tenant"] as const

/** How a quota dimension is enforced at its limit (PRODUCT 10). */
export type QuotaMode = typeof QuotaMode.Type
export const QuotaMode = Schema.Literals(["block", "warn", "queue", "overage"])

/** `plan`: what the tenant's plan says. */
export type QuotaLimitSetting = typeof QuotaLimitSetting.Type
export const QuotaLimitSetting = Schema.Union([Schema.Natural, Schema.Literals(["plan", "unlimited"])])

/** Keys end in their unit. A key is never renamed: stored events contain it. */
export const settingCatalogue = {
  "ingest.bodyBytesMax": setting<number>({
    // Half of what the journal takes at once: an event that it could never take must not be asked for again and again.
    schema: whole(1, 4_194_304),
    default: 1_048_576,
    description: "Largest body of a delivery, in bytes. A larger one is answered 413.",
    levels: ["platform", "space", "tenant", "integration"]
  }),
  "ingest.dedupeDays": setting<number>({
    schema: whole(1, 90),
    default: 7,
    description: "For how many days a delivery with the same id counts as a repeat.",
    levels: ["platform", "space", "tenant", "integration"]
  }),
  "runs.attemptsMax": setting<number>({
    schema: whole(1, 100),
    default: 6,
    description: "How often a step is tried before its run fails.",
    levels: anywhere
  }),
  "runs.backoffMillis": setting<number>({
    schema: whole(1, 3_600_000),
    default: 1_000,
    description: "Wait before the second attempt, in milliseconds; it doubles from attempt to attempt.",
    levels: anywhere
  }),
  "runs.backoffMaxMillis": setting<number>({
    schema: whole(1, 86_400_000),
    default: 300_000,
    description: "Longest wait between two attempts, in milliseconds.",
    levels: anywhere
  }),
  "runs.stepTimeoutMillis": setting<number>({
    schema: whole(1, 600_000),
    default: 30_000,
    description: "How long one call of a step may take, in milliseconds.",
    levels: anywhere
  }),
  "runs.inFlightMax": setting<number>({
    schema: whole(1, 100_000),
    default: 4_096,
    description: "How many runs of one tenant are worked on at a time; further ones wait their turn.",
    levels: upToTenant
  }),
  "runs.connectionWaitDays": setting<number>({
    schema: whole(0, 90),
    default: 7,
    description: "How many days a run waits for a missing or broken connection before it fails; 0: it fails at once.",
    levels: anywhere
  }),
  "runs.retentionDays": setting<number>({
    schema: whole(1, 3_650),
    default: 90,
    description: "For how many days finished runs and deliveries are kept, with their content.",
    levels: upToTenant
  }),
  "quota.eventsPerDay.mode": setting<QuotaMode>({
    schema: QuotaMode,
    default: "block",
    description: "What happens to events above the daily limit: block, warn, queue (until the next day) or overage (let pass, metered).",
    levels: upToTenant
  }),
  "quota.eventsPerDay.limit": setting<QuotaLimitSetting>({
    schema: QuotaLimitSetting,
    default: "plan",
    description: 'Events per UTC day: a number, "unlimited", or "plan" for what the tenant\'s plan allows.',
    levels: upToTenant
  })
} as const

export type SettingKey = keyof typeof settingCatalogue
export type SettingValueOf<Key extends SettingKey> = (typeof settingCatalogue)[Key]["default"]

export const settingKeys = Object.keys(settingCatalogue) as ReadonlyArray<SettingKey>
export const isSettingKey = (key: string): key is SettingKey => Object.hasOwn(settingCatalogue, key)

/** The catalogue's entry without its value's type, for code that works on any key. */
export const settingDefinition = (key: SettingKey): SettingDefinition<SettingValue> =>
  settingCatalogue[key] as unknown as SettingDefinition<SettingValue>

/** The keys most like what somebody typed, at most three. */
export const nearestSettingKeys = (typed: string): ReadonlyArray<SettingKey> =>
  settingKeys
    .map((key) => ({ key, distance: editDistance(typed.toLowerCase().slice(0, 100), key.toLowerCase()) }))
    .filter(({ key, distance }) => distance <= key.length / 2)
    .sort((left, right) => left.distance - right.distance)
    .slice(0, 3)
    .map(({ key }) => key)

/** Levenshtein distance. */
const editDistance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const change = from[i - 1] === to[j - 1] ? 0 : 1
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + change))
    }
    row = next
  }
  return row[to.length]!
}
