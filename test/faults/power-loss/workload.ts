/**
 * A process whose writes are recorded: lives a random history on the stores in `<folder>/data`. What is acknowledged goes to a file
 * within the recording, so that the recording itself says what came first. Arguments: folder, file for the intents, seed, rounds.
 */
import { openSync, writeSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { live } from "../history.ts"
import { randomFrom } from "../random.ts"
import { threaded } from "../stores.ts"

const [folder, intentsFile, seed, rounds] = process.argv.slice(2)
const intents = openSync(intentsFile!, "w", 0o600)
const acknowledged = openSync(join(folder!, "acknowledged"), "w", 0o600)
await Effect.runPromise(
  live(
    randomFrom(Number(seed)),
    Number(rounds),
    (intent) => writeSync(intents, `${JSON.stringify(intent)}\n`),
    (answer) => writeSync(acknowledged, `${JSON.stringify(answer)}\n`)
  ).pipe(Effect.provide(threaded(join(folder!, "data"))))
)
