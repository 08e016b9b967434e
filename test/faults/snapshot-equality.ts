/** F17: a stream that is folded from a snapshot on stands exactly where it stands when it is folded from its first event. */
import { rmSync } from "node:fs"
import { isDeepStrictEqual } from "node:util"
import { rowCells } from "#adapters/sqlite/journal-protocol.ts"
import type { EventId } from "#domain/ids.ts"
import { type LocalName, streamName } from "#domain/scope.ts"
import { scratchFolder } from "./damage/folders.ts"
import { origin, tenantOf } from "./history.ts"
import type { BySize, Scenario } from "./scenario.ts"
import { openStores } from "./stores.ts"
import { type AnyAggregate, type GeneratedAggregate, generateAggregates, type Step, validHistory } from "./valid-histories.ts"

const streams: BySize = { P: 500, N: 3_000, R: 10_000 }
const commandsPerStream = 60
const cutsPerStream = 4
/** Streams that go through the journal, each with a snapshot there. */
const journalShare = 0.25

const foldFrom = ({ evolve, events }: AnyAggregate, state: unknown, stored: ReadonlyArray<StoredFields>): unknown =>
  stored.reduce(
    (next, { type, version, data }) => evolve(next, events.decode(type, version, JSON.parse(data) as Record<string, unknown>)),
    state
  )

interface StoredFields {
  readonly type: string
  readonly version: number
  readonly data: string
}
const storedOf = ({ events }: AnyAggregate, steps: ReadonlyArray<Step>): ReadonlyArray<StoredFields> =>
  steps.map(({ event }) => ({ type: event._tag, version: events.versionOf(event._tag), data: events.encode(event) }))

const differs = ({ workDue }: AnyAggregate, left: unknown, right: unknown): boolean =>
  !isDeepStrictEqual(left, right) || (workDue !== undefined && workDue(left) !== workDue(right))

/** Appends the stream event by event, with a snapshot in between, and folds what the journal loads. */
const throughJournal = (
  stores: ReturnType<typeof openStores>,
  aggregate: AnyAggregate,
  id: number,
  stored: ReadonlyArray<StoredFields>,
  cut: number,
  snapshot: string
): unknown => {
  const scope = tenantOf("a")
  const stream = streamName(scope, `${aggregate.kind}-${id}` as LocalName)
  stored.forEach((event, revision) => {
    const events = [{ ...event, id: `event-${id}-${revision}` as EventId }] as const
    stores.append({ scope, stream, expected: revision - 1, events, contents: [], origin, at: 1 })
    if (revision === cut)
      stores.writer.write(
        [],
        [{ run: () => stores.writer.saveSnapshot(scope.key, stream, aggregate.version, revision, snapshot), settle: () => {} }]
      )
  })
  const loaded = stores.queries.load(scope.key, stream, aggregate.version)
  if (loaded.snapshot?.revision !== cut) return undefined
  const cells = loaded.events
  const tail = Array.from({ length: cells.length / rowCells }, (_, row) => ({
    type: cells[row * rowCells + 6] as string,
    version: cells[row * rowCells + 7] as number,
    data: cells[row * rowCells + 10] as string
  }))
  return foldFrom(aggregate, JSON.parse(loaded.snapshot.state), tail)
}

export const snapshotEquality: Scenario = {
  id: "F17",
  title: "snapshots are only a cache",
  run: async ({ size, seed, random }) => {
    const folder = scratchFolder()
    const stores = openStores(folder)
    try {
      const generated = await generateAggregates(seed)
      const covered = new Set<string>()
      const violations: Array<string> = []
      let folded = 0
      let cuts = 0
      let journaled = 0
      const check = (which: GeneratedAggregate, id: number) => {
        const { aggregate } = which
        const steps = validHistory(which, random, commandsPerStream)
        if (steps.length === 0) return false
        const stored = storedOf(aggregate, steps)
        const whole = foldFrom(aggregate, aggregate.initialState, stored)
        for (const { event } of steps) covered.add(event._tag)
        if (differs(aggregate, whole, steps.at(-1)!.state))
          violations.push(`${aggregate.kind}-${id}: what is stored folds to another state than was decided on`)
        for (let at = 0; at < cutsPerStream; at++) {
          const cut = random.below(steps.length)
          const snapshot = JSON.stringify(steps[cut]!.state)
          const resumed = foldFrom(aggregate, JSON.parse(snapshot), stored.slice(cut + 1))
          cuts++
          if (differs(aggregate, whole, resumed))
            violations.push(`${aggregate.kind}-${id}: from a snapshot at ${cut} of ${steps.length} events it differs`)
          if (at > 0 || random.next() >= journalShare) continue
          journaled++
          if (differs(aggregate, whole, throughJournal(stores, aggregate, id, stored, cut, snapshot)))
            violations.push(`${aggregate.kind}-${id}: loaded from the journal with a snapshot at ${cut} it differs`)
        }
        folded += steps.length
        return true
      }
      let made = 0
      for (let id = 0; made < streams[size] && id < streams[size] * 3; id++) if (check(generated[id % generated.length]!, id)) made++
      const types = generated.flatMap(({ aggregate }) => aggregate.events.types)
      const missed = types.filter((type) => !covered.has(type))
      return {
        injected: { "cut points": cuts },
        found: {
          streams: made,
          aggregates: generated.length,
          events: folded,
          "event types": `${types.length - missed.length} of ${types.length}${missed.length === 0 ? "" : ` (not ${missed.join(", ")})`}`,
          "loaded from the journal": journaled,
          different: violations.length
        },
        violations: made < streams[size] ? [...violations, `only ${made} streams came about`] : violations
      }
    } finally {
      stores.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
