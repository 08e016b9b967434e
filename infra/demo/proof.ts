/** The proof: what the shop sent, what the platform says, and what the ERP's own ledger holds have to agree. Pure. */
import type { DeliveryView } from "#projections/deliveries.ts"
import type { RunView } from "#projections/runs.ts"
import type { LedgerEntry, ShopReport } from "./messages.ts"

export interface TenantRecord {
  readonly tenant: string
  readonly deliveries: ReadonlyArray<DeliveryView>
  readonly runs: ReadonlyArray<RunView>
}
/** The crash, epoch milliseconds: when the process was killed, and when the next one listened. */
export interface Crash {
  readonly killedAt: number
  readonly backAt: number
  /** Calls that the ERP was working on at that moment. */
  readonly inHand: number
  /** The process was started again; else another one took over. */
  readonly restarted: boolean
}
export interface Evidence {
  readonly sent: ShopReport
  readonly records: ReadonlyArray<TenantRecord>
  readonly ledger: ReadonlyArray<LedgerEntry>
  readonly crash: Crash
}

export interface Proof {
  readonly claim: string
  readonly holds: boolean
  /** The figures behind it. */
  readonly found: string
}

type Booked = Extract<LedgerEntry, { readonly kind: "booked" }>
export const bookings = (ledger: ReadonlyArray<LedgerEntry>): ReadonlyArray<Booked> => ledger.filter((entry) => entry.kind === "booked")
export const countOf = (ledger: ReadonlyArray<LedgerEntry>, kind: LedgerEntry["kind"]): number =>
  ledger.filter((entry) => entry.kind === kind).length

/** Runs that had begun when the process was killed and were not done: finished by the next one. */
export const interrupted = ({ killedAt }: Crash, runs: ReadonlyArray<RunView>): ReadonlyArray<RunView> =>
  runs.filter(({ startedAt, finishedAt }) => startedAt <= killedAt && (finishedAt ?? Number.POSITIVE_INFINITY) > killedAt)
/** Events that were on disk when the process was killed, and had not been routed yet. */
export const unrouted = ({ killedAt }: Crash, { deliveries, runs }: TenantRecord): ReadonlyArray<DeliveryView> =>
  deliveries.filter(
    ({ receivedAt, runs: started }) =>
      receivedAt <= killedAt && runs.some(({ id, startedAt }) => startedAt > killedAt && started.some(({ runId }) => runId === id))
  )
/** Runs one of whose steps was tried more than once. */
export const retried = (runs: ReadonlyArray<RunView>): ReadonlyArray<RunView> =>
  runs.filter(({ steps }) => steps.some(({ attempts }) => attempts > 1))

const doubled = (values: ReadonlyArray<string>): ReadonlyArray<string> => values.filter((value, index) => values.indexOf(value) !== index)
const some = (values: ReadonlyArray<string>): string => (values.length === 0 ? "" : `: ${values.slice(0, 3).join(", ")}`)

export const prove = ({ sent, records, ledger, crash }: Evidence): ReadonlyArray<Proof> => {
  const orders = sent.orders.length
  const acknowledged = sent.orders.filter(({ status }) => status !== null).length
  const runs = records.flatMap((record) => record.runs)
  const deliveries = records.flatMap((record) => record.deliveries)
  const repeats = deliveries.reduce((sum, delivery) => sum + delivery.repeats, 0)
  const answered = sent.duplicates.filter(({ status }) => status === 200).length
  const unfinished = runs.filter(({ status }) => status !== "succeeded")
  const wanted = new Map(sent.orders.map(({ orderId, tenant }) => [String(orderId), tenant]))
  const booked = bookings(ledger)
  const bookedOrders = booked.map(({ order }) => order)
  const lost = [...wanted.keys()].filter((order) => !bookedOrders.includes(order))
  const twice = doubled(bookedOrders)
  const strange = booked.filter(({ order, tenant }) => wanted.get(order) !== tenant).map(({ order }) => order)
  const refused = countOf(ledger, "refused")
  const cut = interrupted(crash, runs)
  return [
    { claim: "Every order was acknowledged", holds: acknowledged === orders, found: `${acknowledged} of ${orders}` },
    {
      claim: "Every order is recorded once, the forged one is not",
      holds: deliveries.length === orders && sent.forged.status === 401,
      found: `${deliveries.length} events for ${orders} orders; the forgery was answered ${sent.forged.status ?? "nothing"}`
    },
    {
      claim: "Duplicates were acknowledged like the first, and counted",
      holds: answered === sent.duplicates.length && repeats >= sent.duplicates.length,
      found: `${answered} of ${sent.duplicates.length} sent again on purpose; ${repeats} repeats seen in all`
    },
    {
      claim: "Every order ran once and succeeded",
      holds: runs.length === orders && unfinished.length === 0,
      found: `${runs.length} runs, ${unfinished.length} not succeeded${some(unfinished.map(({ id }) => id))}`
    },
    {
      claim: "The crash hit work that was under way",
      holds: cut.length > 0,
      found: `${cut.length} runs were under way, and were finished ${crash.restarted ? "after the restart" : "by those that were left"}`
    },
    { claim: "Nothing was lost, says the ERP's ledger", holds: lost.length === 0, found: `${lost.length} orders missing${some(lost)}` },
    {
      claim: "Nothing was done twice, says the ERP's ledger",
      holds: twice.length === 0 && booked.length === orders,
      found: `${booked.length} bookings for ${orders} orders, ${twice.length} doubled${some(twice)}`
    },
    {
      claim: "Each with its own tenant's credential",
      holds: strange.length === 0 && refused === 0,
      found: `${strange.length} under another tenant's${some(strange)}; ${refused} calls refused by the ERP`
    }
  ]
}
