/** What a database says it is, for those who only look or empty it: a vault, views, or neither. */
import type { Db } from "mongodb"
import { viewsPrefix } from "./read-models-catalogue.ts"

export interface VaultIdentity {
  readonly journalId: string
  readonly masterKeyId: string
  readonly masterKeyCheck: string
}
export interface Identities {
  /** Null: it holds no vault. */
  readonly vault: VaultIdentity | null
  /** Null: it holds no views. */
  readonly views: { readonly journalId: string; readonly life: string } | null
  /** Names of collections that are not those of views. */
  readonly others: ReadonlyArray<string>
}

type Document = { readonly _id: string }

export const identitiesOf = async (db: Db): Promise<Identities> => {
  const collections = await db.listCollections({}, { nameOnly: true }).toArray()
  const meta = db.collection<Document>("meta")
  const [vault, views] = [await meta.findOne({ _id: "vault" }), await meta.findOne({ _id: "views" })]
  const others = collections.map(({ name }) => name).filter((name) => name !== "meta" && name !== "models" && !name.startsWith(viewsPrefix))
  return { vault: vault as VaultIdentity | null, views: views as Identities["views"], others }
}

export interface Wiped {
  readonly models: number
  readonly collections: number
}

/** Says why a database is not emptied; null: it holds views and nothing else, or nothing at all. */
export const notViews = ({ vault, others }: Identities): string | null => {
  if (vault !== null) return `it holds the vault of the journal ${vault.journalId}`
  return others.length === 0 ? null : `it holds something else than views (${others.slice(0, 3).join(", ")})`
}

/**
 * Throws all views away, while processes may be at work: each begins anew from the log as soon as it notices. Only collections of
 * views are ever touched. Call it when `notViews` says null.
 */
export const wipeViews = async (db: Db, { views }: Identities): Promise<Wiped> => {
  // The models first: a process that misses one makes it anew only under a new identity, so that none is made and lost in between.
  const { deletedCount } = await db.collection("models").deleteMany({})
  if (views !== null) await db.collection<Document & { readonly life: string }>("meta").deleteOne({ _id: "views", life: views.life })
  // In this order: a model is stored before its collection is made.
  const stored = await db.listCollections({}, { nameOnly: true }).toArray()
  const used = new Set((await db.collection("models").find({}).toArray()).map((model) => model["collection"]))
  const unused = stored.filter(({ name }) => name.startsWith(viewsPrefix) && !used.has(name))
  for (const { name } of unused) await db.dropCollection(name)
  return { models: deletedCount, collections: unused.length }
}
