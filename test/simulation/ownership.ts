/** Who owns which buckets, among simulated processes that tell each other by messages, some of which get lost. */
import { newest } from "#adapters/memory/newest.ts"
import { Membership, type Word } from "#adapters/nats/membership.ts"
import { type Buckets, Ownership } from "#services/ports/ownership.ts"
import { between, type Chance } from "./chance.ts"
import type { Process } from "./process.ts"
import type { Timeline } from "./timeline.ts"

export const leaseMillis = 8_000
const beatMillis = leaseMillis / 4
const listenMillis = 250
const lost = 0.02

/** One process's part in it. */
class Member {
  readonly membership: Membership
  readonly process: Process
  readonly #others: SharedMembers
  readonly #listeners = new Set<(buckets: Buckets) => void>()
  /** What each other said last, and when: settling is dear, and most words say nothing new. */
  readonly #heard = new Map<string, { readonly word: string; readonly at: number }>()
  #hasListened = false

  constructor(process: Process, others: SharedMembers, timeline: Timeline) {
    this.process = process
    this.#others = others
    this.membership = new Membership(process.writer, leaseMillis)
    const beat = () => {
      this.#say("holds")
      if (this.#somebodyIsSilent()) this.#settle()
      timeline.after(beatMillis, () => process.deliver(beat))
    }
    timeline.after(listenMillis, () =>
      process.deliver(() => {
        this.#hasListened = true
        this.#settle()
        beat()
      })
    )
    this.#say("joins")
  }

  hear(word: Word): void {
    const { now } = this.#others
    if (this.membership.hear(word, now)) this.#say("holds")
    const said = `${word.what} ${word.holds}`
    const isNews = this.#heard.get(word.member)?.word !== said
    this.#heard.set(word.member, { word: said, at: now })
    if (isNews || this.#somebodyIsSilent()) this.#settle()
  }

  #somebodyIsSilent(): boolean {
    let silent = false
    for (const [member, { at }] of this.#heard) {
      if (at + leaseMillis > this.#others.now) continue
      this.#heard.delete(member)
      silent = true
    }
    return silent
  }

  onChange(listener: (buckets: Buckets) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  #settle(): void {
    if (!this.#hasListened || !this.membership.settle(this.#others.now)) return
    for (const listener of this.#listeners) listener(this.membership.owned)
    this.#others.changed()
    this.#say("holds")
  }

  #say(what: Word["what"]): void {
    this.#others.tell(this, this.membership.say(what))
  }
}

export class SharedMembers {
  readonly #members: Array<Member> = []
  readonly #timeline: Timeline
  readonly #chance: Chance

  /** Called whenever a process owns other buckets than before. */
  readonly changed: () => void

  constructor(timeline: Timeline, chance: Chance, changed: () => void) {
    this.changed = changed
    this.#timeline = timeline
    this.#chance = chance
  }

  get now(): number {
    return this.#timeline.now
  }

  tell(from: Member, word: Word): void {
    for (const member of this.#members) {
      if (member === from || this.#chance() < lost) continue
      this.#timeline.after(between(this.#chance, 0.1, 3), () => member.process.deliver(() => member.hear(word)))
    }
  }

  join(process: Process): Ownership["Service"] {
    const member = new Member(process, this, this.#timeline)
    this.#members.push(member)
    const { membership } = member
    return Ownership.of({
      member: membership.member,
      owned: () => membership.owned,
      changes: newest(
        () => membership.owned,
        (changed) => member.onChange(changed)
      ),
      members: () => membership.members
    })
  }
}
