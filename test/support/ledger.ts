/** A ledger on loopback that knows no idempotency keys and can be asked what it entered, with a flow that makes entries in it. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { ConnectorId } from "#domain/ids.ts"
import { Connections } from "#services/connections.ts"
import { Connectors } from "#services/connectors.ts"
import { customer, origin, publishOrders } from "./orders.ts"
import { startVendor, type VendorAnswer, type VendorCall } from "./vendor.ts"

/** How long a call may take: short, as the tests wait for real timeouts. */
export const callMillis = 100

export const ledgerManifest = (probe: object | null = {}) =>
  JSON.stringify({
    id: "ledger",
    name: "Ledger",
    baseUrl: "{address}",
    variables: { address: { kind: "origin" } },
    auth: { token: { kind: "bearer" } },
    actions: {
      enter: {
        method: "POST",
        path: "/entries",
        body: "input",
        effect: "verifiable",
        timeoutMillis: callMillis,
        ...(probe === null
          ? {}
          : {
              probe: {
                method: "GET",
                path: "/entries/{id}",
                found: { path: "status", eq: 200 },
                absent: { path: "status", eq: 404 },
                output: "entry",
                ...probe
              }
            })
      }
    },
    errors: { message: "message" }
  })

/** What the ledger does with a call, counted from 0 among those of its kind; left out: what was asked, and the truth. */
export interface Script {
  readonly enter?: (number: number) => { readonly enters: boolean; readonly answer: VendorAnswer | "reset" | "hang" } | undefined
  readonly probe?: (number: number, call: VendorCall) => VendorAnswer | "reset" | "hang" | undefined
}

export const startLedger = async ({ enter, probe }: Script = {}) => {
  /** Ids in the order in which they were entered: one that stands there twice was entered twice. */
  const entries: Array<string> = []
  /** Of each probe, what it was told. */
  const told: Array<"found" | "absent"> = []
  const calls: Array<VendorCall> = []
  const probes: Array<VendorCall> = []
  const vendor = await startVendor((call) => {
    if (call.method !== "POST") {
      probes.push(call)
      const id = decodeURIComponent(call.url.split("/").at(-1)!)
      const known = entries.includes(id)
      told.push(known ? "found" : "absent")
      const body = known ? { entry: { id, number: entries.indexOf(id) } } : { message: "unknown" }
      return probe?.(probes.length - 1, call) ?? { status: known ? 200 : 404, body: JSON.stringify(body) }
    }
    calls.push(call)
    const { id } = JSON.parse(call.body) as { readonly id: string }
    const scripted = enter?.(calls.length - 1)
    if (scripted?.enters !== false) entries.push(id)
    return scripted?.answer ?? { status: 201, body: JSON.stringify({ id, number: entries.length - 1 }) }
  })
  return { address: vendor.address, entries, told, calls, probes, close: vendor.close }
}
export type Ledger = Awaited<ReturnType<typeof startLedger>>

const ledgerFlow = (id: string, retry: string) => `
id: orders-to-ledger
trigger: { connector: shop, event: orders/create }
steps:
  - id: enter
    kind: action
    connector: ledger
    action: enter
    input: { id: "${id}" }
    retry: ${retry}
  - id: after
    kind: transform
    expression: steps.enter.output
`

export const connectLedger = ({ address }: Pick<Ledger, "address">, scope: Parameters<Connections["Service"]["connect"]>[0]) =>
  Effect.flatMap(Connections, (connections) =>
    connections.connect(
      scope,
      ConnectorId.make("ledger"),
      { method: "token", secrets: { token: Redacted.make("token-of-ledger") }, variables: { address } },
      origin
    )
  )

/** A tenant whose orders are entered into the ledger. */
export const bookkeeping = Effect.fnUntraced(function* (
  ledger: Pick<Ledger, "address">,
  options: { readonly manifest?: string; readonly id?: string; readonly retry?: string } = {}
) {
  const { manifest = ledgerManifest(), id = "= $string(trigger.body.id)" } = options
  const { space } = yield* publishOrders()
  yield* (yield* Connectors).publish(space, manifest, origin)
  const { flowId } = yield* publishOrders(ledgerFlow(id, options.retry ?? "{ attemptsMax: 4, backoffMillis: 10, backoffMaxMillis: 50 }"))
  const { scope, endpointId } = yield* customer(space, flowId, "acme-corp", null)
  const { connectionId } = yield* connectLedger(ledger, scope)
  return { space, scope, endpointId, connectionId }
})
