/** Large sealed contents on MongoDB: one document each in the vault's database, written by a majority before their event. */
import type { Collection } from "mongodb"
import type { LargeContents } from "#adapters/sealing/large-contents.ts"

export interface ContentDocument {
  readonly _id: string
  readonly sealed: Uint8Array
  /** Epoch milliseconds. */
  readonly putAt: number
}

/** A document of MongoDB has no more than 16 MiB. */
export const largeContentBytesMax = 15 * 1024 * 1024
const idsPerRemoval = 1_000

export class MongoLargeContents implements LargeContents {
  private readonly stored: Collection<ContentDocument>

  constructor(stored: Collection<ContentDocument>) {
    this.stored = stored
  }

  async put(id: string, sealed: Uint8Array): Promise<void> {
    if (sealed.length > largeContentBytesMax)
      throw new Error(`A content of ${sealed.length} bytes exceeds the vault's ${largeContentBytesMax}.`)
    await this.stored.replaceOne({ _id: id }, { sealed, putAt: Date.now() }, { upsert: true })
  }

  async get(id: string): Promise<Uint8Array | undefined> {
    return (await this.stored.findOne({ _id: id }))?.sealed
  }

  async remove(ids: ReadonlyArray<string>): Promise<void> {
    for (let from = 0; from < ids.length; from += idsPerRemoval)
      await this.stored.deleteMany({ _id: { $in: ids.slice(from, from + idsPerRemoval) } })
  }

  /** Ids that were put before a time, after an id, in order: where orphans are looked for. */
  async putBefore(time: number, after: string | null, limit: number): Promise<ReadonlyArray<string>> {
    const later = after === null ? {} : { _id: { $gt: after } }
    const found = await this.stored
      .find({ ...later, putAt: { $lt: time } }, { projection: { _id: 1 } })
      .sort({ _id: 1 })
      .limit(limit)
      .toArray()
    return found.map(({ _id }) => _id)
  }
}
