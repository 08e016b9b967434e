/** A tenant: one customer of the space, known outside by the id that the space chose. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Aggregate } from "./decider.ts"
import { eventFamily } from "./event-family.ts"
import { TenantKey } from "./ids.ts"
import { PlanName } from "./plan.ts"

const bytesMax = 128
const utf8Bytes = (text: string) => new TextEncoder().encode(text).length
/** Controls, line and paragraph separators, and halves of surrogate pairs. */
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u
const reasonAgainst = (text: string): string | undefined => {
  if (text.trim().length === 0) return "it must hold a visible character"
  if (utf8Bytes(text) > bytesMax) return `it must be at most ${bytesMax} bytes of UTF-8`
  if (unprintable.test(text)) return "it must hold no control character or line break"
  return undefined
}
const printable = Schema.makeFilter<string>(reasonAgainst, {
  expected: `printable text of 1 to ${bytesMax} bytes`
})
/** URL parsers take these for directories, even percent-encoded: such a tenant could not be addressed. */
const notDots = Schema.makeFilter<string>((text) => (text === "." || text === ".." ? `"." and ".." cannot stand in a URL` : undefined))

/** One spelling for what looks the same: canonical composition (Unicode NFC). */
const composed = Schema.String.pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({ decode: (text: string) => text.normalize("NFC"), encode: (text: string) => text })
  )
)
/** The id that the space chose: any printable text of 1 to 128 bytes, in NFC. Decoding normalises. */
export type ExternalTenantId = typeof ExternalTenantId.Type
export const ExternalTenantId = composed.check(printable, notDots).pipe(Schema.brand("ExternalTenantId"))
export type DisplayName = typeof DisplayName.Type
export const DisplayName = composed.check(printable).pipe(Schema.brand("DisplayName"))

export type Region = typeof Region.Type
export const Region = Schema.Literals(["us", "eu", "apac"])
export type Tier = typeof Tier.Type
export const Tier = Schema.Literals(["shared", "dedicated", "private"])
/** `erased` ends every tenant whose keys were destroyed; nothing leads out of it. */
export type TenantStatus = typeof TenantStatus.Type
export const TenantStatus = Schema.Literals(["active", "suspended", "erased"])

/** A text sealed under the tenant's log key before it came here: it is forgotten with the key. */
const Sealed = Schema.String
const created = {
  tenantKey: TenantKey,
  externalId: Sealed,
  displayName: Sealed,
  plan: PlanName,
  region: Region,
  tier: Tier
}

export type TenantCommand = typeof TenantCommand.Type
export const TenantCommand = Schema.TaggedUnion({
  CreateTenant: created,
  RenameTenant: { displayName: Sealed },
  ChangeTenantPlan: { plan: PlanName },
  SuspendTenant: {},
  ActivateTenant: {}
})
export type TenantEvent = typeof TenantEvent.Type
export const TenantEvent = Schema.TaggedUnion({
  TenantCreated: created,
  TenantRenamed: { displayName: Sealed },
  TenantPlanChanged: { plan: PlanName },
  TenantSuspended: {},
  TenantActivated: {}
})
const { TenantActivated, TenantCreated, TenantPlanChanged, TenantRenamed, TenantSuspended } = TenantEvent.cases

export interface Tenant {
  readonly externalId: string
  readonly displayName: string
  readonly plan: PlanName
  readonly region: Region
  readonly tier: Tier
  readonly status: TenantStatus
}
/** Null: never created. */
export type TenantState = Tenant | null

/** The same answer for an id that nobody has and for one that another space has. */
export class TenantNotFound extends Schema.TaggedError<TenantNotFound>()("TenantNotFound", {}) {
  override get message() {
    return "There is no tenant with this id in the space. Nothing was changed. Check the id, or create the tenant first."
  }
}
export class TenantExists extends Schema.TaggedError<TenantExists>()("TenantExists", { tenantKey: TenantKey }) {
  override get message() {
    return "A tenant with this id exists already. Nothing was changed. Use it, or choose another id."
  }
}
export class TenantErased extends Schema.TaggedError<TenantErased>()("TenantErased", {}) {
  override get message() {
    return "This tenant was erased and cannot be changed any more. Create a new one."
  }
}
export type TenantRejected = TenantNotFound | TenantExists | TenantErased

const whenThere = (
  state: TenantState,
  decide: (tenant: Tenant) => ReadonlyArray<TenantEvent>
): Result.Result<ReadonlyArray<TenantEvent>, TenantNotFound | TenantErased> => {
  if (state === null) return Result.fail(new TenantNotFound())
  return state.status === "erased" ? Result.fail(new TenantErased()) : Result.succeed(decide(state))
}
const change = (state: TenantState, fields: Partial<Tenant>): TenantState => state && { ...state, ...fields }

/** Stream `tenant-self` of the tenant. */
export const tenant: Aggregate<TenantState, TenantCommand, TenantEvent, TenantRejected> = {
  kind: "tenant",
  version: 1,
  events: eventFamily(TenantEvent),
  initialState: null,
  decide: (command, state) =>
    TenantCommand.match(command, {
      CreateTenant: ({ _tag, ...fields }) =>
        state === null ? Result.succeed([TenantCreated.make(fields)]) : Result.fail(new TenantExists({ tenantKey: fields.tenantKey })),
      RenameTenant: ({ displayName }) =>
        whenThere(state, (tenant) => (tenant.displayName === displayName ? [] : [TenantRenamed.make({ displayName })])),
      ChangeTenantPlan: ({ plan }) => whenThere(state, (tenant) => (tenant.plan === plan ? [] : [TenantPlanChanged.make({ plan })])),
      SuspendTenant: () => whenThere(state, ({ status }) => (status === "suspended" ? [] : [TenantSuspended.make({})])),
      ActivateTenant: () => whenThere(state, ({ status }) => (status === "active" ? [] : [TenantActivated.make({})]))
    }),
  evolve: (state, event) =>
    TenantEvent.match(event, {
      TenantCreated: ({ externalId, displayName, plan, region, tier }): TenantState => ({
        externalId,
        displayName,
        plan,
        region,
        tier,
        status: "active"
      }),
      TenantRenamed: ({ displayName }) => change(state, { displayName }),
      TenantPlanChanged: ({ plan }) => change(state, { plan }),
      TenantSuspended: () => change(state, { status: "suspended" }),
      TenantActivated: () => change(state, { status: "active" })
    })
}
