/** All ports of one simulated process. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ExpressionsLive from "#adapters/jsonata/expressions.ts"
import * as Alone from "#adapters/memory/ownership.ts"
import type { EventId } from "#domain/ids.ts"
import { Entropy } from "#services/ports/entropy.ts"
import { type CompiledExpression, Expressions } from "#services/ports/expressions.ts"
import { CallFailed, Outbound } from "#services/ports/outbound.ts"
import { Ownership } from "#services/ports/ownership.ts"
import { PredecessorDied } from "#services/suspects.ts"
import { busLayer } from "./bus.ts"
import { type Chance, chanceFor } from "./chance.ts"
import type { Process } from "./process.ts"
import { storesLayer } from "./stores.ts"
import type { SentCall } from "./vendors.ts"
import type { World } from "./world.ts"

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
const text = (chance: Chance, length: number, digits: string): string =>
  Array.from({ length }, () => digits[Math.floor(chance() * digits.length)]!).join("")

const entropyLayer = (chance: Chance) =>
  Layer.succeed(
    Entropy,
    Entropy.of({
      eventId: () => text(chance, 24, "0123456789abcdef") as EventId,
      base32: (length) => text(chance, length, alphabet),
      fraction: chance
    })
  )

/** Compiling is pure and slow: once for all processes of all executions. */
const compiled = new Map<string, CompiledExpression>()
const expressions = await Effect.runPromise(
  Effect.map(Effect.provide(Expressions, ExpressionsLive.layer), ({ compile }) =>
    Layer.succeed(
      Expressions,
      Expressions.of({
        compile: (expression) => {
          const known = compiled.get(expression)
          if (known !== undefined) return Effect.succeed(known)
          return Effect.tap(compile(expression), (ready) => Effect.sync(() => void compiled.set(expression, ready)))
        }
      })
    )
  )
)

const failed = (kind: CallFailed["kind"], sent: CallFailed["sent"]) =>
  Exit.fail(new CallFailed({ kind, sent, reason: "a simulated fault" }))

/** Each process counts its monotonic time from a start of its own. */
const outboundLayer = (world: World, process: Process) => {
  const bornAt = world.timeline.now - 1_000 * process.life
  const now = () => world.timeline.now - bornAt
  const gate = world.gate(process)
  return Layer.succeed(
    Outbound,
    Outbound.of({
      now,
      call: (request) => {
        let call: SentCall | undefined
        return gate.io({
          port: "vendor",
          what: `${request.method} ${new URL(request.url).pathname} ${String(request.body ?? "").slice(0, 120)}`,
          withheld: () => (request.sendBy !== undefined && now() > request.sendBy ? failed("too-late", "no") : undefined),
          sent: () => {
            call = world.vendors.send(request, process.writer)
          },
          perform: () => Exit.succeed(world.vendors.arrive(call!)),
          refused: () => failed("connect", "no"),
          unknown: (why) => failed(why, "unknown"),
          timeoutMillis: request.timeoutMs
        })
      }
    })
  )
}

/** `alone`: it is the only process, and knows it. */
export const portsLayer = (world: World, process: Process, alone: boolean) => {
  const gate = world.gate(process)
  const stored = { log: world.log, vault: world.vault, now: () => world.timeline.now }
  const now = Effect.sync(() => world.timeline.now)
  const own = Layer.mergeAll(
    outboundLayer(world, process),
    entropyLayer(chanceFor(world.seed, `entropy of ${process.writer}`)),
    // Every other life knows of the death before it, so that both ways of an event are played after one.
    Layer.succeed(PredecessorDied, process.life % 2 === 0),
    expressions
  )
  if (alone) return Layer.mergeAll(storesLayer(stored, gate), busLayer(world.bus, gate, { now }), Alone.layer, own)
  const ownership = world.members.join(process)
  const { changes, owned } = ownership
  return Layer.mergeAll(
    storesLayer({ ...stored, owned, takenOver: changes }, gate),
    busLayer(world.bus, gate, { owned, now }),
    Layer.succeed(Ownership, ownership),
    own
  )
}
