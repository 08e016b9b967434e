/**
 * Whose transaction may hold a model. A process that dies or stops between a transaction's first write and its commit holds what it has
 * written until the server's time is up, a minute as a rule; who waits for it ends the session instead, as every user may end his own.
 * https://www.mongodb.com/docs/manual/reference/command/killSessions/
 */
import type { Binary, ClientSession, Collection } from "mongodb"
import type { Position } from "#domain/ids.ts"

export interface HolderDocument {
  /** The model and its session. */
  readonly _id: string
  readonly model: string
  readonly session: Binary
  /** Epoch milliseconds. */
  readonly announcedAt: number
}
interface Conflict {
  readonly from: Position | null
  /** Milliseconds of the monotonic clock. */
  readonly since: number
}

/** Longer than any batch takes that is still carried out: as soon as runners that stand by look again. */
export const heldMillisMax = 5_000
const announcedMillis = 300_000
/** Many times what a server lets a transaction take. */
const forgottenMillis = 2 * announcedMillis

export class Holders {
  readonly #documents: Collection<HolderDocument>
  readonly #end: (sessions: ReadonlyArray<Binary>) => Promise<unknown>
  readonly #heldMillis: number
  /** When this process announced a session, by the document's id. */
  readonly #announced = new Map<string, number>()
  /** Models that somebody held when they were to be written, and from where. */
  readonly #conflicts = new Map<string, Conflict>()

  /** `end` ends sessions; `heldMillis`: how long a conflict is left to whoever is in it. */
  constructor(
    documents: Collection<HolderDocument>,
    end: (sessions: ReadonlyArray<Binary>) => Promise<unknown>,
    heldMillis = heldMillisMax
  ) {
    this.#documents = documents
    this.#end = end
    this.#heldMillis = heldMillis
  }

  /** Before a transaction over the model begins: from its first write on, others have to know whom to end. */
  async announce(model: string, { id }: ClientSession): Promise<void> {
    const session = id!.id
    const _id = `holder:${model}:${session.toString("hex")}`
    if (performance.now() < (this.#announced.get(_id) ?? Number.NEGATIVE_INFINITY) + announcedMillis) return
    const now = Date.now()
    await this.#documents.deleteMany({ model, announcedAt: { $lt: now - forgottenMillis } })
    await this.#documents.replaceOne({ _id }, { model, session, announcedAt: now }, { upsert: true })
    this.#announced.set(_id, performance.now())
  }

  /** The model could be written. */
  settle(model: string): void {
    this.#conflicts.delete(model)
  }

  /** Somebody holds the model, which is to be moved on from `from`. True: he has held it for too long, and no longer does. */
  async release(model: string, from: Position | null): Promise<boolean> {
    const before = this.#conflicts.get(model)
    if (before?.from !== from) {
      this.#conflicts.set(model, { from, since: performance.now() })
      return false
    }
    if (performance.now() < before.since + this.#heldMillis) return false
    this.#conflicts.delete(model)
    const holders = await this.#documents.find({ model }).toArray()
    await this.#end(holders.map(({ session }) => session))
    return holders.length > 0
  }

  /** The model is gone. */
  async forget(model: string): Promise<void> {
    this.#conflicts.delete(model)
    for (const _id of this.#announced.keys()) if (_id.startsWith(`holder:${model}:`)) this.#announced.delete(_id)
    await this.#documents.deleteMany({ model })
  }
}
