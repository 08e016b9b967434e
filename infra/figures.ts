/** What the engine counts, as metrics. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Ingest } from "#services/ingest.ts"
import { Bus } from "#services/ports/bus.ts"
import { OpenWork } from "#services/ports/open-work.ts"
import { ViewServer } from "#services/ports/view-server.ts"
import { Router } from "#services/router.ts"
import { Runner } from "#services/runner.ts"
import { Transact } from "#services/transact.ts"
import { Worker } from "#services/worker.ts"
import { counter, counterBy, gauge, type Metric, type MetricSource } from "./metrics.ts"

/** Positions are counted numbers in the embedded journal, so that a lag can be told in events; elsewhere it is 0 or not told. */
const lag = (head: string | null, position: string | null): number | null => {
  if (head === position) return 0
  const events = Number(head ?? 0) - Number(position ?? 0)
  return Number.isFinite(events) ? Math.max(0, events) : null
}

export const figures = (
  context: Context.Context<Bus | Ingest | OpenWork | Router | Runner | Transact | ViewServer | Worker>
): MetricSource => {
  const ingest = Context.get(context, Ingest)
  const router = Context.get(context, Router)
  const runner = Context.get(context, Runner)
  const transact = Context.get(context, Transact)
  const worker = Context.get(context, Worker)
  const bus = Context.get(context, Bus)
  const openWork = Context.get(context, OpenWork)
  const views = Context.get(context, ViewServer)

  const counted = Effect.sync((): ReadonlyArray<Metric> => {
    const { accepted, duplicates, refused, bytes } = ingest.figures()
    const { streams, waiting, appended, conflicts } = transact.figures()
    const { ready, inFlight, timers } = worker.figures()
    const { dropped, givenUp } = bus.figures()
    return [
      counterBy("ingest_total", "Webhook calls by what became of them.", "outcome", { accepted, duplicate: duplicates, refused }),
      counter("ingest_bytes_total", "Bytes of accepted webhook bodies.", bytes),
      counterBy("routed_total", "Events by what the router did.", "outcome", router.figures()),
      counterBy("runs_total", "Runs by what became of them.", "outcome", runner.figures()),
      counter("events_appended_total", "Events written to the journal.", appended),
      counter("append_conflicts_total", "Appends decided again after somebody else's.", conflicts),
      counterBy("announcements_lost_total", "Wake-ups that did not come to their end; the sweep repairs them.", "why", {
        dropped,
        givenUp
      }),
      gauge("streams_cached", "Streams in memory.", streams),
      gauge("commands_waiting", "Commands that wait for their turn.", waiting),
      gauge("work_ready", "Deliveries and runs that wait for a worker.", ready),
      gauge("work_in_flight", "Deliveries and runs in hand.", inFlight),
      gauge("work_timers", "Runs that wait for a time.", timers)
    ]
  })
  const open = Effect.map(openWork.summary, ({ open }) => [gauge("work_open", "Streams with open work.", open)])
  const lagging = Effect.map(
    views.projections,
    (projections): ReadonlyArray<Metric> => [
      {
        name: "view_lag_events",
        help: "Events that a projection has not seen yet.",
        type: "gauge",
        samples: projections.flatMap(({ name, serving, head }) => {
          const value = lag(head, serving?.position ?? null)
          return value === null ? [] : [{ value, labels: { projection: name } }]
        })
      }
    ]
  )
  const none = () => Effect.succeed<ReadonlyArray<Metric>>([])
  return Effect.map(
    Effect.all([counted, Effect.catchCause(open, none), Effect.catchCause(lagging, none)]),
    (gathered): ReadonlyArray<Metric> => gathered.flat()
  )
}
