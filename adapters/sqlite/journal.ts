/** The journal on SQLite: one writer in its own thread, group commit, every acknowledged append flushed to disk. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Scope, StreamName } from "#domain/scope.ts"
import { Journal, type LoadedStream } from "#services/ports/journal.ts"
import * as Feed from "./feed.ts"
import type { EventRowCells, LoadReply } from "./journal-protocol.ts"
import { ForeignStream, type JournalOptions, JournalThread, ownsStream } from "./journal-thread-client.ts"
import * as OpenWork from "./open-work.ts"
import * as Payloads from "./payloads.ts"
import { eventsOfCells } from "./stored-event.ts"
import * as Vault from "./vault.ts"

export const journal = Layer.effect(
  Journal,
  Effect.gen(function* () {
    const { connection } = yield* JournalThread
    const within = <A, E>(scope: Scope, stream: StreamName, effect: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
      ownsStream(scope, stream) ? effect() : Effect.die(new ForeignStream(scope, stream))
    return Journal.of({
      facts: { maxAppendBytes: connection.appendBytesMax, durable: "fsync", soleWriter: true },
      journalId: connection.journalId,
      append: (append) => connection.append(append),
      appendTogether: (appends) => connection.appendTogether(appends),
      load: (scope, stream, snapshotVersion) =>
        within(scope, stream, () =>
          Effect.map(connection.ask<LoadReply>({ op: "load", stream, scope: scope.key, snapshotVersion }), loadedOf)
        ),
      readStream: (scope, stream, options) =>
        within(scope, stream, () =>
          Effect.map(
            connection.ask<EventRowCells>({
              op: "readStream",
              stream,
              scope: scope.key,
              from: options?.from ?? 0,
              limit: options?.limit ?? -1
            }),
            eventsOfCells
          )
        ),
      saveSnapshot: (scope, stream, version, { revision, state }) =>
        within(scope, stream, () => connection.ask({ op: "saveSnapshot", stream, scope: scope.key, version, revision, state })),
      retire: (scope, stream, revision) =>
        within(scope, stream, () => connection.ask<boolean>({ op: "retire", stream, scope: scope.key, revision }))
    })
  })
)

const loadedOf = ({ snapshot, events, retired }: LoadReply): LoadedStream => ({ snapshot, events: eventsOfCells(events), retired })

/** All ports that the journal's thread serves, and the thread itself. */
export const layer = (options: JournalOptions) =>
  Layer.mergeAll(journal, Feed.layer, OpenWork.layer, Payloads.layer, Vault.layer).pipe(Layer.provideMerge(JournalThread.layer(options)))
