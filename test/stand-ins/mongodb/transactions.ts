/** Sessions, their transactions, and the answers to writes that may be sent again. */
import type { Document } from "bson"
import type { Collection } from "./collection.ts"
import { CommandFailed } from "./failures.ts"

/** As `transactionLifetimeLimitSeconds`. */
const lifetimeMillis = 60_000

export class Transaction {
  readonly number: number
  /** Of the last commit before it began: what was committed later is in conflict with its writes. */
  readonly startedAt: number
  /** Settles when it is over, either way. */
  readonly over: Promise<void>
  readonly #written = new Map<string, { readonly collection: Collection; readonly key: string }>()
  readonly #expiry: NodeJS.Timeout
  #end: () => void = () => {}
  isOpen = true

  constructor(number: number, startedAt: number) {
    this.number = number
    this.startedAt = startedAt
    this.over = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#expiry = setTimeout(() => this.abort(), lifetimeMillis).unref()
  }

  wrote(collection: Collection, key: string): void {
    this.#written.set(`${collection.namespace}\n${key}`, { collection, key })
  }

  commit(): void {
    this.#finish((collection, key) => collection.commit(key, this))
  }

  abort(): void {
    this.#finish((collection, key) => collection.abort(key, this))
  }

  #finish(each: (collection: Collection, key: string) => void): void {
    if (!this.isOpen) return
    this.isOpen = false
    clearTimeout(this.#expiry)
    for (const { collection, key } of this.#written.values()) each(collection, key)
    this.#end()
  }
}

interface Session {
  transaction: Transaction | null
  /** Number and end of the last transaction: a repeated commit is answered as the first. */
  committed: number
  /** The last write that may be sent again, and its answer. */
  retryable: { readonly number: number; readonly answer: Document } | null
}

/** Sessions that are kept; the driver's pool is small. */
const sessionsMax = 10_000

export class Sessions {
  readonly #sessions = new Map<string, Session>()

  of(command: Document): Session {
    const id = Buffer.from(command["lsid"]?.id?.buffer ?? []).toString("hex")
    let session = this.#sessions.get(id)
    if (session === undefined) {
      if (this.#sessions.size >= sessionsMax) this.#sessions.clear()
      session = { transaction: null, committed: -1, retryable: null }
      this.#sessions.set(id, session)
    }
    return session
  }

  /** The transaction that the command belongs to; null: none. */
  transactionOf(command: Document, now: number): Transaction | null {
    if (command["autocommit"] !== false) return null
    const session = this.of(command)
    const number = Number(command["txnNumber"])
    if (command["startTransaction"] === true) {
      session.transaction?.abort()
      session.transaction = new Transaction(number, now)
    }
    const { transaction } = session
    if (transaction?.number !== number || !transaction.isOpen)
      throw new CommandFailed(251, `transaction ${number} is not open`, ["TransientTransactionError"])
    return transaction
  }

  commit(command: Document): Document {
    const session = this.of(command)
    const number = Number(command["txnNumber"])
    if (session.committed === number) return { ok: 1 }
    if (session.transaction?.number !== number || !session.transaction.isOpen)
      throw new CommandFailed(251, `transaction ${number} is not open`, ["TransientTransactionError"])
    session.transaction.commit()
    session.committed = number
    return { ok: 1 }
  }

  abort(command: Document): Document {
    const { transaction } = this.of(command)
    if (transaction === null || !transaction.isOpen) throw new CommandFailed(251, "no transaction is open")
    transaction.abort()
    return { ok: 1 }
  }

  /** Answers a write that is sent again as it was answered before. */
  async retryable(command: Document, work: () => Promise<Document>): Promise<Document> {
    if (command["txnNumber"] === undefined || command["autocommit"] === false) return work()
    const session = this.of(command)
    const number = Number(command["txnNumber"])
    if (session.retryable?.number === number) return session.retryable.answer
    const answer = await work()
    session.retryable = { number, answer }
    return answer
  }
}
