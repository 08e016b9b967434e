/** `tributary tenants`: the customers of the space. */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { limit, moreNote, orUndefined, type Page, pages, serverCommand, text } from "./command.ts"
import { plain, show, status, table, time } from "./output.ts"

interface Tenant {
  readonly id: string
  readonly displayName: string
  readonly plan: string
  readonly region: string
  readonly tier: string
  readonly status: string
  readonly createdAt?: number
}

const path = "/api/v1/tenants"

const row = ({ id, displayName, plan, region, tier, status: stands, createdAt }: Tenant): ReadonlyArray<string> => [
  plain(id),
  status(stands),
  plan,
  region,
  tier,
  time(createdAt),
  plain(displayName)
]
const tenantTable = (page: Page<Tenant>): string =>
  page.items.length === 0
    ? "No tenants. Create one with: tributary tenants create <your id of it>"
    : table(["TENANT", "STATUS", "PLAN", "REGION", "TIER", "CREATED", "NAME"], page.items.map(row)) + moreNote(page)

const list = serverCommand("list", "All tenants, the newest first.", { limit }, (client, input) =>
  Effect.flatMap(pages<Tenant>(client, path, {}, input.limit), (page) => show(input.json, page, tenantTable))
)

const option = (name: string, description: string) => Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

const create = serverCommand(
  "create",
  "Creates a tenant under your own id of it: any printable text of up to 128 bytes.",
  {
    id: text("id", "Such as acme-corp or ana@example.com"),
    name: option("name", "What people call it"),
    plan: option("plan", "Its plan"),
    region: option("region", "Where its facts stay"),
    tier: option("tier", "shared, dedicated or private")
  },
  (client, input) => {
    const given = { displayName: input.name, plan: input.plan, region: input.region, tier: input.tier }
    const chosen = Object.entries(given).flatMap(([name, value]) => (value._tag === "Some" ? [[name, orUndefined(value)]] : []))
    return Effect.flatMap(client.ask<Tenant>(path, { method: "POST", body: { id: input.id, ...Object.fromEntries(chosen) } }), (tenant) =>
      show(input.json, tenant, ({ id, plan, region }) => `The tenant ${plain(id)} exists, on the plan ${plan} in ${region}.`)
    )
  }
)

export const tenants = Command.make("tenants").pipe(
  Command.withDescription("Tenants: your customers."),
  Command.withSubcommands([list, create])
)
