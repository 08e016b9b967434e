/** The open-work index on SQLite, beside the events. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { StreamName } from "#domain/scope.ts"
import { OpenWork, type WorkItem } from "#services/ports/open-work.ts"
import type { WorkReply } from "./journal-protocol.ts"
import { JournalThread } from "./journal-thread-client.ts"
import { scopeOfRow } from "./stored-event.ts"

export const layer = Layer.effect(
  OpenWork,
  Effect.gen(function* () {
    const { connection } = yield* JournalThread
    return OpenWork.of({
      // All buckets are this process's, from the start to the end.
      takenOver: Stream.succeed(undefined),
      due: ({ before, limit, key, after }) =>
        Effect.map(
          connection.ask<WorkReply>({
            op: "workDue",
            before,
            limit,
            scope: key ?? null,
            after: after === undefined ? null : { dueAt: after.dueAt, scope: after.scope.key, stream: after.stream }
          }),
          itemsOf
        ),
      summary: Effect.map(
        connection.ask<{ readonly open: number; readonly earliest: number | null }>({ op: "workSummary" }),
        ({ open, earliest }) => ({ open, earliestDueAt: earliest })
      )
    })
  })
)

const itemsOf = ({ items }: WorkReply): ReadonlyArray<WorkItem> => {
  const found: Array<WorkItem> = []
  for (let cell = 0; cell < items.length; cell += 4)
    found.push({
      scope: scopeOfRow(items[cell] as string, items[cell + 1] as string),
      stream: items[cell + 2] as StreamName,
      dueAt: items[cell + 3] as number
    })
  return found
}
