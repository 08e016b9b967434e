/**
 * Looks at everything that an embedded installation stores, running or stopped, so that no damage is left that reads alone would
 * miss. Opened for reading only. Rows are read in pieces, between which a running server's log of changes can begin anew.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { type CheckedAppends, checkAppends } from "./append-check.ts"
import { type CheckedFile, type Damage, Damages } from "./damages.ts"
import { checkMetaNames, checkSchema, checkStructure } from "./file-check.ts"
import { journalSchemaVersion, tables as journalTables, readMeta } from "./journal-schema.ts"
import type { KeyRing } from "./key-ring.ts"
import { moveMarkName } from "./move-mark.ts"
import { type CheckedStreams, checkNames, checkScopes, checkSnapshots, checkStreams } from "./stream-check.ts"
import { checkKeys, checkSecrets, type GivenKey, keysOf } from "./vault-check.ts"
import { vaultSchemaVersion, tables as vaultTables } from "./vault-store.ts"

/** What is being looked at, and how much of it is done. */
export interface DeepProgress {
  readonly looksAt:
    | "structure of journal.db"
    | "structure of vault.db"
    | "structure of views.db"
    | "events"
    | "streams"
    | "names"
    | "snapshots"
    | "keys"
    | "secrets"
  readonly done: number
  /** Null: not known. */
  readonly total: number | null
}

export interface DeepFindings {
  readonly events: number
  readonly streams: number
  /** Sealed contents of events that were opened. */
  readonly contents: number
  readonly snapshots: number
  readonly keys: number
  readonly secrets: number
  /** False: the master key was not given, so nothing sealed was opened. */
  readonly opened: boolean
  /** The first ones; `damaged` counts all. */
  readonly damages: ReadonlyArray<Damage>
  readonly damaged: Readonly<Record<CheckedFile, number>>
}

const journalMeta = new Set(["journalId", "lastPosition", "namesIndexedTo", moveMarkName])
const vaultMeta = new Set(["journalId", "masterKeyId", "masterKeyCheck"])

/** A check that yields where it is, so that its caller can tell, and stop, in between. */
type Step<A> = Generator<DeepProgress, A>

/** `masterKey`: undefined when it is not at hand. */
export function* deepCheck(folder: string, masterKey: GivenKey | undefined): Step<DeepFindings> {
  const damages = new Damages()
  const opened: Array<DatabaseSync> = []
  const open = (file: CheckedFile): DatabaseSync | undefined =>
    damages.reading(file, "it", () => {
      const db = new DatabaseSync(join(folder, file), { readOnly: true, timeout: 5000 })
      opened.push(db)
      return db
    })
  try {
    const journal = open("journal.db")
    const vault = open("vault.db")
    const keys = vault === undefined || masterKey === undefined ? undefined : keysOf(vault, masterKey, damages)
    const ofJournal = journal === undefined ? nothing : yield* checkJournal(journal, keys, damages)
    const ofVault = vault === undefined ? { keys: 0, secrets: 0 } : yield* checkVault(vault, keys, masterKey, damages)
    const views = existsSync(join(folder, "views.db")) ? open("views.db") : undefined
    if (views !== undefined) yield* inOneStep("structure of views.db", () => checkStructure(views, "views.db", damages))
    if (journal !== undefined && vault !== undefined) checkBelonging(journal, vault, views, damages)
    keys?.forget()
    const damaged = {
      "journal.db": damages.count("journal.db"),
      "vault.db": damages.count("vault.db"),
      "views.db": damages.count("views.db")
    }
    return { ...ofJournal, ...ofVault, opened: keys !== undefined, damages: damages.kept, damaged }
  } finally {
    for (const db of opened) db.close()
  }
}

const noAppends: CheckedAppends = { events: 0, contents: 0, types: new Set(), whole: false }
const noStreams: CheckedStreams = { streams: 0, scopes: new Set() }
const nothing = { events: 0, streams: 0, contents: 0, snapshots: 0 }

function* inOneStep<A>(looksAt: DeepProgress["looksAt"], look: () => A): Step<A> {
  yield { looksAt, done: 0, total: null }
  return look()
}

/** Tells of each piece of a check. Where SQLite refuses to begin it, that is damage, and nothing of it was seen. */
function* telling<A>(
  looksAt: DeepProgress["looksAt"],
  total: number | null,
  pieces: Generator<number, A>,
  [file, damages, none]: readonly [CheckedFile, Damages, A]
): Step<A> {
  while (true) {
    const piece = damages.reading(file, looksAt, () => pieces.next())
    if (piece === undefined) return none
    if (piece.done === true) return piece.value
    yield { looksAt, done: piece.value, total }
  }
}

function* checkJournal(db: DatabaseSync, keys: KeyRing | undefined, damages: Damages): Step<typeof nothing> {
  const file = "journal.db"
  yield* inOneStep("structure of journal.db", () => checkStructure(db, file, damages))
  checkSchema(db, file, journalTables, journalSchemaVersion, damages)
  checkMetaNames(db, file, journalMeta, damages)
  const before = damages.reading(file, "what its figures are", () => figuresOf(db))
  if (before === undefined) return nothing
  const { head, newestStream, indexedTo } = before
  const { events, contents, types, whole } = yield* telling("events", head, checkAppends(db, keys, head, damages), [
    file,
    damages,
    noAppends
  ])
  const { streams, scopes } = yield* telling("streams", newestStream, checkStreams(db, indexedTo, damages), [file, damages, noStreams])
  yield* telling("names", newestStream, checkNames(db, damages), [file, damages, undefined])
  const snapshots = yield* telling("snapshots", null, checkSnapshots(db, keys, damages), [file, damages, 0])
  checkScopes(db, scopes, before.newestScope, damages)
  damages.reading(file, "what its figures are", () => {
    if (whole) checkFigures(db, before, events, damages)
    checkTypes(db, types, damages)
  })
  return { events, contents, streams, snapshots }
}

interface Figures {
  /** The newest position that was ever given. */
  readonly head: number
  readonly newestStream: number
  readonly newestScope: number
  /** Streams up to here are in the index of names. */
  readonly indexedTo: number
  /** Events of retired streams: their positions are empty. */
  readonly retired: number
}

const figures = `
SELECT (SELECT coalesce(max(position), 0) FROM appends) AS newest, (SELECT coalesce(max(id), 0) FROM streams) AS newestStream,
  (SELECT coalesce(max(id), 0) FROM scopes) AS newestScope,
  (SELECT coalesce(sum(retired_revision + 1), 0) FROM streams WHERE retired_revision IS NOT NULL) AS retired`

/** As of one moment. */
const figuresOf = (db: DatabaseSync): Figures => {
  db.exec("BEGIN")
  try {
    return readFigures(db)
  } finally {
    db.exec("COMMIT")
  }
}

const readFigures = (db: DatabaseSync): Figures => {
  const { newest, ...found } = db.prepare(figures).get() as unknown as Omit<Figures, "head" | "indexedTo"> & { newest: number }
  return { ...found, head: Math.max(newest, countIn(db, "lastPosition") ?? 0), indexedTo: countIn(db, "namesIndexedTo") ?? 0 }
}

/** Null: it is not there, or no count. */
const countIn = (db: DatabaseSync, name: string): number | null => {
  const text = readMeta(db, name)
  return text !== undefined && /^\d{1,16}(?:\.0)?$/u.test(text) ? Number(text) : null
}

/** Positions are given without gaps: those without an event are as many as retired streams had. A running server may retire some meanwhile. */
const checkFigures = (db: DatabaseSync, { head, retired, newestStream, indexedTo }: Figures, events: number, damages: Damages): void => {
  const after = figuresOf(db)
  const empty = head - events
  if (empty < retired || empty > after.retired)
    damages.add("journal.db", `${empty} of ${head} positions hold no event, and retired streams had ${after.retired}`)
  if (after.retired > 0 && countIn(db, "lastPosition") === null)
    damages.add("journal.db", "meta does not say what the newest position was when a stream was last retired")
  for (const name of ["lastPosition", "namesIndexedTo"])
    if (readMeta(db, name) !== undefined && countIn(db, name) === null) damages.add("journal.db", `meta's entry ${name} is no count`)
  if (indexedTo > newestStream) damages.add("journal.db", `meta says that ${indexedTo} streams are named, and there are ${newestStream}`)
}

/** A release that does not know a type refuses to start on it: a missing one would let it start. */
const checkTypes = (db: DatabaseSync, types: ReadonlySet<string>, damages: Damages): void => {
  const stored = new Set(
    db
      .prepare("SELECT type || '@' || version AS line FROM event_types")
      .all()
      .map(({ line }) => line as string)
  )
  for (const type of types)
    if (!stored.has(type)) damages.add("journal.db", `events have the type ${type}, which is not among those announced`)
}

function* checkVault(
  db: DatabaseSync,
  ring: KeyRing | undefined,
  masterKey: GivenKey | undefined,
  damages: Damages
): Step<{ readonly keys: number; readonly secrets: number }> {
  const file = "vault.db"
  yield* inOneStep("structure of vault.db", () => checkStructure(db, file, damages))
  checkSchema(db, file, vaultTables, vaultSchemaVersion, damages)
  checkMetaNames(db, file, vaultMeta, damages)
  const keys = yield* telling("keys", null, checkKeys(db, ring === undefined ? undefined : masterKey, damages), [file, damages, 0])
  const secrets = yield* telling("secrets", null, checkSecrets(db, ring, damages), [file, damages, 0])
  return { keys, secrets }
}

/** Each file says which journal it belongs to. */
const checkBelonging = (journal: DatabaseSync, vault: DatabaseSync, views: DatabaseSync | undefined, damages: Damages): void => {
  const idOf = (db: DatabaseSync, file: CheckedFile) => damages.reading(file, "its journal's id", () => readMeta(db, "journalId") ?? "none")
  const id = idOf(journal, "journal.db")
  if (idOf(vault, "vault.db") !== id) damages.add("vault.db", "it belongs to another journal, or the id of one of both is damaged")
  if (views !== undefined && idOf(views, "views.db") !== id) damages.add("views.db", "they follow another journal")
}
