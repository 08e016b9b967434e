/** Documents that are made once: of several processes that make one, exactly one wins, and the others take its. */
import type { Collection, OptionalUnlessRequiredId } from "mongodb"
import { isDuplicateKey } from "./failure.ts"

/** The document that is stored under its id from now on: this one, or the one that was there before. */
export const insertOnce = async <Doc extends { readonly _id: string }>(collection: Collection<Doc>, doc: Doc): Promise<Doc> => {
  try {
    await collection.insertOne(doc as OptionalUnlessRequiredId<Doc>)
    return doc
  } catch (cause) {
    if (!isDuplicateKey(cause)) throw cause
  }
  const there = await collection.findOne({ _id: doc._id } as never)
  if (there === null) throw new Error(`The document ${doc._id} was removed while it was made.`)
  return there as unknown as Doc
}
