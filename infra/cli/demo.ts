/** `tributary demo`: the main job on real input, with a crash in the middle. */

import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { told } from "./command.ts"
import { failed } from "./failure.ts"

export const demo = Command.make(
  "demo",
  {
    orders: Flag.Int("orders").pipe(
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 20, maximum: 1000 }))),
      Flag.withDescription("So many orders, 20 to 1000"),
      Flag.withDefault(60)
    ),
    distributed: Flag.Boolean("distributed").pipe(
      Flag.withDescription("Three processes over a local nats-server and stand-ins for EventStoreDB and MongoDB; a worker is killed"),
      Flag.withDefault(false)
    ),
    keep: Flag.Boolean("keep").pipe(Flag.withDescription("Leave everything running, with its URLs and the key"), Flag.withDefault(false)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print one JSON document"), Flag.withDefault(false))
  },
  (input) =>
    told(input.json)(
      Effect.gen(function* () {
        const { runDemo } = yield* Effect.promise(() => import("../demo/demo.ts"))
        const proved = yield* runDemo(input)
        if (!proved) return yield* failed("The demo has failed", "Something was lost, doubled or wrong: see above.")
      })
    )
).pipe(Command.withDescription("Shows the main job on real input: signed orders, two tenants, a crash in the middle, and the proof."))
