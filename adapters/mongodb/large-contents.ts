/** Large sealed contents on MongoDB: one document each in the vault's database, written by a majority before their event. */
import type { Collection } from "mongodb"
import { SealingFailed } from "#adapters/sealing/failure.ts"
import type { CollectableContents, PutContent } from "#adapters/sealing/large-contents.ts"
import { inTime, isMongoFailure, reasonOf } from "./failure.ts"

export interface ContentDocument {
  readonly _id: string
  readonly sealed: Uint8Array
  /** Epoch milliseconds of the last put; gone once an append was found that refers to it. */
  readonly putAt?: number
}

/** A document of MongoDB has no more than 16 MiB. */
export const largeContentBytesMax = 15 * 1024 * 1024
const idsPerRemoval = 1_000
/** A content is larger than what else is asked of MongoDB. */
const operationMillis = 15_000

export class MongoLargeContents implements CollectableContents {
  private readonly stored: Collection<ContentDocument>

  constructor(stored: Collection<ContentDocument>) {
    this.stored = stored
  }

  async put(id: string, sealed: Uint8Array): Promise<void> {
    if (sealed.length > largeContentBytesMax)
      throw new Error(`A content of ${sealed.length} bytes exceeds the vault's ${largeContentBytesMax}.`)
    // Without its event it is of no consequence: nothing was written that counts.
    await asked("no", () => this.stored.replaceOne({ _id: id }, { sealed, putAt: Date.now() }, { upsert: true }))
  }

  async get(id: string): Promise<Uint8Array | undefined> {
    return (await asked("no", () => this.stored.findOne({ _id: id })))?.sealed
  }

  async remove(ids: ReadonlyArray<string>): Promise<void> {
    for (let from = 0; from < ids.length; from += idsPerRemoval)
      await asked("unknown", () => this.stored.deleteMany({ _id: { $in: ids.slice(from, from + idsPerRemoval) } }))
  }

  async putBefore(time: number, after: PutContent | null, limit: number): Promise<ReadonlyArray<PutContent>> {
    const later =
      after === null
        ? { putAt: { $lt: time } }
        : { $or: [{ putAt: after.putAt, _id: { $gt: after.id } }, { putAt: { $gt: after.putAt, $lt: time } }] }
    const found = await asked("no", () =>
      this.stored
        .find(later, { projection: { putAt: 1 } })
        .sort({ putAt: 1, _id: 1 })
        .limit(limit)
        .toArray()
    )
    return found.map(({ _id, putAt }) => ({ id: _id, putAt: putAt! }))
  }

  async markReferenced({ id, putAt }: PutContent): Promise<void> {
    await asked("unknown", () => this.stored.updateOne({ _id: id, putAt }, { $unset: { putAt: "" } }))
  }

  async removePut({ id, putAt }: PutContent): Promise<boolean> {
    const { deletedCount } = await asked("unknown", () => this.stored.deleteOne({ _id: id, putAt }))
    return deletedCount === 1
  }
}

const asked = async <A>(written: "no" | "unknown", work: () => Promise<A>): Promise<A> => {
  try {
    return await inTime(work, operationMillis)
  } catch (cause) {
    throw isMongoFailure(cause) ? new SealingFailed(written, `the vault cannot keep large contents (${reasonOf(cause)})`, cause) : cause
  }
}
