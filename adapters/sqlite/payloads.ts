/** Content on SQLite: sealed beside the events that refer to it, opened by the journal's thread. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ownerOf, slotOf } from "#domain/content.ts"
import { streamName } from "#domain/scope.ts"
import { ContentGone, Payloads } from "#services/ports/payloads.ts"
import type { ContentReply } from "./journal-protocol.ts"
import { JournalThread } from "./journal-thread-client.ts"

export const layer = Layer.effect(
  Payloads,
  Effect.gen(function* () {
    const { connection } = yield* JournalThread
    return Payloads.of({
      open: (scope, refs) =>
        Effect.flatMap(
          connection.ask<ContentReply>({
            op: "openContents",
            scope: scope.key,
            owners: refs.map((ref) => streamName(scope, ownerOf(ref))),
            slots: refs.map(slotOf)
          }),
          (reply) =>
            "contents" in reply ? Effect.succeed(reply.contents) : Effect.fail(new ContentGone({ ref: refs[reply.gone]!, why: reply.why }))
        )
    })
  })
)
