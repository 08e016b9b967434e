/** Which models are stored where: one document per model, and one collection per generation with a name of its own. */
import { randomBytes } from "node:crypto"
import type { Collection, Db, IndexDescription } from "mongodb"
import { type Columns, columnsOf } from "#adapters/read-models/columns.ts"
import type { Position } from "#domain/ids.ts"
import type { ModelDefinition } from "#services/ports/read-models.ts"
import { isMissing } from "./failure.ts"
import type { HolderDocument } from "./holders.ts"
import { insertOnce } from "./insert-once.ts"
import { fieldPath, type ViewDocument } from "./read-models-query.ts"

export interface ModelDocument {
  /** The model's name. */
  readonly _id: string
  readonly collection: string
  /** JSON text. */
  readonly definition: string
  readonly checkpoint: Position | null
  readonly complete: boolean
  /** Epoch milliseconds. */
  readonly definedAt: number
}
/** What the whole database is. */
interface Identity {
  readonly _id: "views"
  readonly layout: number
  readonly journalId: string
  /** Base64url; the same for all processes. */
  readonly cursorKey: string
  /** Another one: the database was emptied since. */
  readonly life: string
}

/** A model that can be written and queried. */
export interface Table {
  readonly model: string
  readonly definition: ModelDefinition
  readonly columns: Columns
  readonly collection: string
  readonly views: Collection<ViewDocument>
  /** Epoch milliseconds after which it is looked up again: another process may have dropped it. */
  readonly knownUntil: number
}

/** Another layout is thrown away: all of it comes back from the journal. */
const layout = 1
const knownMillis = 2_000
export const viewsPrefix = "views_"
/** How often a model is looked at again when others define it at the same moment. */
const triesMax = 10

const newName = (): string => `${viewsPrefix}${randomBytes(8).toString("hex")}`

/** Every index begins with the scope, or for lists across a space with the space. */
const indexesOf = ({ sorts, acrossSpace }: ModelDefinition): Array<IndexDescription> => {
  const orders = [[], ...sorts.filter((sort) => sort.length > 0)]
  return orders.flatMap((sort, number) => {
    const fields = sort.map((field): [string, 1] => [fieldPath(field), 1])
    const own: IndexDescription = { name: `scope_${number}`, key: new Map<string, 1>([["scope", 1], ...fields, ["id", 1]]) }
    const across: IndexDescription = {
      name: `space_${number}`,
      key: new Map<string, 1>([["space", 1], ...fields, ["id", 1], ["scope", 1]])
    }
    return acrossSpace === true && (sort.length > 0 || sorts.length === 0) ? [own, across] : [own]
  })
}

export class Catalogue {
  readonly models: Collection<ModelDocument>
  readonly holders: Collection<HolderDocument>
  readonly #db: Db
  readonly #identities: Collection<Identity>
  readonly #journalId: string
  readonly #tables = new Map<string, Table>()
  /** What this process has defined: made again when the database was emptied under it. */
  readonly #defined = new Map<string, ModelDefinition>()
  #identity: Identity

  private constructor(db: Db, journalId: string) {
    this.#db = db
    this.#journalId = journalId
    this.models = db.collection("models")
    this.#identities = db.collection("meta")
    // Not in a collection of their own: a release that does not know it would take the database for something else.
    this.holders = db.collection("meta")
    const [cursorKey, life] = [randomBytes(32).toString("base64url"), randomBytes(8).toString("hex")]
    this.#identity = { _id: "views", layout, journalId, cursorKey, life }
  }

  /** Null: the database is something else, and was left as it is. */
  static async open(db: Db, journalId: string): Promise<Catalogue | null> {
    const collections = await db.listCollections({}, { nameOnly: true }).toArray()
    const foreign = collections.some(({ name }) => name !== "meta" && name !== "models" && !name.startsWith(viewsPrefix))
    const catalogue = new Catalogue(db, journalId)
    if (foreign || (await db.collection<{ _id: string }>("meta").findOne({ _id: "vault" })) !== null) return null
    await catalogue.#settle()
    return catalogue
  }

  get cursorKey(): Buffer {
    return Buffer.from(this.#identity.cursorKey, "base64url")
  }

  async define(definition: ModelDefinition): Promise<void> {
    this.#defined.set(definition.model, definition)
    await this.#define(definition)
  }

  /** Throws when nobody has defined it. */
  async table(model: string): Promise<Table> {
    const known = this.#tables.get(model)
    return known !== undefined && known.knownUntil > performance.now() ? known : this.#tableOf(await this.lookUp(model))
  }

  /** As it is stored now. */
  async lookUp(model: string): Promise<ModelDocument> {
    const stored = (await this.models.findOne({ _id: model })) ?? (await this.#afterLoss(model))
    if (stored === null) {
      this.#tables.delete(model)
      throw new Error(`the model ${model} is not defined`)
    }
    this.#tableOf(stored)
    return stored
  }

  async drop(model: string): Promise<void> {
    this.#defined.delete(model)
    this.#tables.delete(model)
    await this.models.deleteOne({ _id: model })
  }

  /** Drops the collections that no model has, one after the other: each is one short step for the server. */
  async sweep(): Promise<void> {
    // In this order: a model is stored before its collection is made.
    const collections = await this.#db.listCollections({}, { nameOnly: true }).toArray()
    const used = new Set((await this.models.find({}).toArray()).map(({ collection }) => collection))
    for (const { name } of collections) if (name.startsWith(viewsPrefix) && !used.has(name)) await this.#free(name)
  }

  /** Throws views of another journal or layout away: positions of two journals cannot be compared. */
  async #settle(): Promise<void> {
    let stored = await insertOnce(this.#identities, this.#identity)
    if (stored.journalId !== this.#journalId || stored.layout !== layout) {
      await this.models.deleteMany({})
      await this.#identities.deleteOne({ _id: "views", life: stored.life })
      stored = await insertOnce(this.#identities, this.#identity)
    }
    this.#identity = stored
  }

  async #define(definition: ModelDefinition): Promise<ModelDocument> {
    const { model } = definition
    const text = JSON.stringify(definition)
    const fresh = { collection: newName(), definition: text, checkpoint: null, complete: false, definedAt: Date.now() }
    for (let tries = 0; tries < triesMax; tries++) {
      const stored = await insertOnce(this.models, { _id: model, ...fresh })
      if (stored.definition === text) {
        await this.#db.collection(stored.collection).createIndexes(indexesOf(definition))
        this.#tableOf(stored)
        return stored
      }
      const { deletedCount } = await this.models.deleteOne({ _id: model, collection: stored.collection })
      if (deletedCount === 1) await this.#free(stored.collection)
    }
    throw new Error(`the model ${model} is being defined in two ways at once`)
  }

  /** A model that is not there: dropped by somebody, or gone with the whole database, which was emptied. Then it starts anew. */
  async #afterLoss(model: string): Promise<ModelDocument | null> {
    const before = this.#identity.life
    const stored = await insertOnce(this.#identities, { ...this.#identity, life: randomBytes(8).toString("hex") })
    this.#identity = stored
    if (stored.life === before) return null
    this.#tables.clear()
    for (const definition of this.#defined.values()) await this.#define(definition)
    return this.models.findOne({ _id: model })
  }

  async #free(collection: string): Promise<void> {
    await this.#db.dropCollection(collection).catch((cause) => {
      if (!isMissing(cause)) throw cause
    })
  }

  #tableOf({ _id: model, collection, definition: text }: ModelDocument): Table {
    const known = this.#tables.get(model)
    const definition = known?.collection === collection ? known.definition : (JSON.parse(text) as ModelDefinition)
    const columns = known?.definition === definition ? known.columns : columnsOf(definition)
    const views = this.#db.collection<ViewDocument>(collection)
    const table = { model, definition, columns, collection, views, knownUntil: performance.now() + knownMillis }
    this.#tables.set(model, table)
    return table
  }
}
