/** `tributary start`: runs the platform until it is told to stop. */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { readSettings } from "../config.ts"

const optional = <Name extends string, A>(name: Name, value: Option.Option<A>): Partial<Record<Name, A>> =>
  Option.isSome(value) ? ({ [name]: value.value } as Record<Name, A>) : {}

export const start = Command.make(
  "start",
  {
    host: Flag.String("host").pipe(Flag.withDescription("Address to listen on (TRIBUTARY_HOST, else 127.0.0.1)"), Flag.optional),
    port: Flag.Int("port").pipe(Flag.withDescription("Port; 0 for a free one (TRIBUTARY_PORT, else 8080)"), Flag.optional),
    data: Flag.String("data").pipe(Flag.withDescription("Data folder (TRIBUTARY_DATA, else ./tributary-data)"), Flag.optional)
  },
  Effect.fnUntraced(function* ({ host, port, data }) {
    const settings = yield* readSettings({ ...optional("host", host), ...optional("port", port), ...optional("dataFolder", data) })
    const { runUntilStopped } = yield* Effect.promise(() => import("../start.ts"))
    return yield* runUntilStopped(settings)
  })
).pipe(Command.withDescription("Start the platform. Embedded: one process, one data folder, no other server."))
