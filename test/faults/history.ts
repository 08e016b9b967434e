/** A random history of a journal and its vault: what was asked of them, in order, and what was acknowledged. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { EventId, SpaceKey, TenantKey } from "#domain/ids.ts"
import { systemActor } from "#domain/recorded.ts"
import { type LocalName, streamName, type TenantScope, tenantScope } from "#domain/scope.ts"
import { type Append, Journal } from "#services/ports/journal.ts"
import { Vault } from "#services/ports/vault.ts"
import type { Random } from "./random.ts"

const space = `s${"a".repeat(19)}` as SpaceKey
export const tenantOf = (letter: string): TenantScope => tenantScope(space, `t${letter.repeat(19)}` as TenantKey)
const letters = ["a", "b", "c", "d", "e", "f"]
export const eventTypes = { Happened: 1, Renamed: 2 }
export const origin = { actor: systemActor("history"), correlationId: "cause-1" }
export const snapshotVersion = 3

/** What was asked for; its number orders the intents of one history. */
export type Intent = { readonly number: number; readonly tenant: string } & (
  | {
      readonly is: "append"
      readonly local: LocalName
      readonly expected: number
      readonly at: number
      readonly events: ReadonlyArray<{ readonly id: string; readonly type: "Happened" | "Renamed"; readonly data: string }>
      readonly contents: ReadonlyArray<{ readonly slot: string; readonly text: string }>
      /** Undefined: as it was. */
      readonly workDue?: number | null
    }
  | { readonly is: "retire"; readonly local: LocalName; readonly revision: number }
  | { readonly is: "snapshot"; readonly local: LocalName; readonly revision: number; readonly state: string }
  | { readonly is: "secret"; readonly owner: string; readonly field: string; readonly secret: string }
)
export type AppendIntent = Extract<Intent, { is: "append" }>
/** Of an append its position; of a secret its version. */
export interface Acknowledged {
  readonly number: number
  readonly value: number
}
export interface History {
  readonly intents: ReadonlyArray<Intent>
  /** By number. */
  readonly acknowledged: ReadonlyMap<number, Acknowledged>
}

export const appendOf = (intent: AppendIntent): Append => ({
  scope: tenantOf(intent.tenant),
  stream: streamName(tenantOf(intent.tenant), intent.local),
  expected: intent.expected,
  events: intent.events.map(({ id, type, data }) => ({ id: id as EventId, type, version: eventTypes[type], data })) as never,
  contents: intent.contents.map(({ slot, text }) => ({ slot, bytes: text })),
  origin,
  at: intent.at,
  ...(intent.workDue === undefined ? {} : { workDue: intent.workDue })
})

interface LiveStream {
  readonly tenant: string
  readonly local: LocalName
  revision: number
}

/** Chooses what happens next, and remembers what that leads to. */
class Plan {
  private readonly random: Random
  private readonly live: Array<LiveStream> = []
  private readonly versions = new Map<string, number>()
  private number = 0

  constructor(random: Random) {
    this.random = random
  }

  /** Intents that may be carried out at the same time: no two of one stream. */
  next(atOnceMax: number): ReadonlyArray<Intent> {
    const busy = new Set<LiveStream>()
    return Array.from({ length: 1 + this.random.below(atOnceMax) }, () => this.intent(busy))
  }

  private intent(busy: Set<LiveStream>): Intent {
    const number = this.number++
    const known = this.live.length === 0 ? undefined : this.random.oneOf(this.live)
    const stream = known === undefined || busy.has(known) || this.random.next() < 0.45 ? this.create(number) : known
    busy.add(stream)
    const chance = this.random.next()
    if (chance < 0.06) return this.secret(number)
    const { tenant, local, revision } = stream
    if (revision >= 0 && chance < 0.1) {
      this.live.splice(this.live.indexOf(stream), 1)
      return { number, tenant, is: "retire", local, revision }
    }
    if (revision >= 0 && chance < 0.16) return { number, tenant, is: "snapshot", local, revision, state: JSON.stringify({ number }) }
    return this.append(number, stream)
  }

  private create(number: number): LiveStream {
    const stream = { tenant: this.random.oneOf(letters), local: `thing-${number}` as LocalName, revision: -1 }
    this.live.push(stream)
    return stream
  }

  private append(number: number, stream: LiveStream): AppendIntent {
    const events = Array.from({ length: 1 + this.random.below(3) }, (_, index) => ({
      id: `event-${number}-${index}`,
      type: this.random.oneOf(["Happened", "Renamed"] as const),
      data: JSON.stringify({ number, index, text: this.text(200) })
    }))
    const expected = stream.revision
    stream.revision += events.length
    const contents = this.random.next() < 0.6 ? [{ slot: `body-${number}`, text: this.text(12_000) }] : []
    const due = this.random.next()
    return {
      number,
      tenant: stream.tenant,
      is: "append",
      local: stream.local,
      expected,
      at: 1_760_000_000_000 + number,
      events,
      contents,
      ...(due < 0.4 ? { workDue: 1_000 + number } : due < 0.6 ? { workDue: null } : {})
    }
  }

  private secret(number: number): Intent {
    const ref = { tenant: this.random.oneOf(letters), owner: `integration-${this.random.below(3)}`, field: `key-${number}` }
    const name = Object.values(ref).join()
    this.versions.set(name, (this.versions.get(name) ?? 0) + 1)
    return { number, is: "secret", ...ref, secret: `secret-${number}-${this.text(40)}` }
  }

  private text(lengthMax: number): string {
    return Buffer.from(this.random.bytes(this.random.below(lengthMax))).toString("base64url")
  }
}

const carryOut = (intent: Intent) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const scope = tenantOf(intent.tenant)
    switch (intent.is) {
      case "append":
        return Number((yield* journal.append(appendOf(intent))).position)
      case "retire":
        return (yield* journal.retire(scope, streamName(scope, intent.local), intent.revision)) ? 1 : 0
      case "snapshot":
        return yield* Effect.as(journal.saveSnapshot(scope, streamName(scope, intent.local), snapshotVersion, intent), 0)
      case "secret":
        return (yield* (yield* Vault).put(scope, intent, Redacted.make(intent.secret))).version
    }
  })

/** Carries out rounds of random intents; `asked` hears of each before it, `acknowledged` after it was answered. */
export const live = (
  random: Random,
  rounds: number,
  asked: (intent: Intent) => void,
  acknowledged: (answer: Acknowledged) => void,
  afterRound: (round: number) => void = () => {}
): Effect.Effect<void, unknown, Journal | Vault> => {
  let done = 0
  const plan = new Plan(random)
  const round = Effect.suspend(() => {
    const intents = plan.next(6)
    intents.forEach(asked)
    return Effect.forEach(intents, (intent) => Effect.map(carryOut(intent), (value) => acknowledged({ number: intent.number, value })), {
      concurrency: "unbounded",
      discard: true
    }).pipe(Effect.tap(() => Effect.sync(() => afterRound(++done))))
  })
  return Effect.repeat(round, { times: rounds - 1 }).pipe(Effect.asVoid)
}
