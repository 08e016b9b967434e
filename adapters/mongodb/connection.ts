/** One client per URL: how a database is reached, what its server is, and what is said when it cannot be used. */
import { readFileSync } from "node:fs"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type Db, MongoClient, type MongoClientOptions, MongoCompatibilityError, MongoServerError } from "mongodb"
import { inTime, reasonOf } from "./failure.ts"

export interface DatabaseOptions {
  /** `mongodb://…` or `mongodb+srv://…`; its path names the database, its options TLS and the rest. */
  readonly url: Redacted.Redacted<string>
  /** File with the password of the URL's user, for URLs that do not hold it. */
  readonly passwordFile?: string
  /** PEM file of the authorities that may have signed the server's certificate; turns TLS on. */
  readonly caFile?: string
  /** PEM file with this process's certificate and key, where the server asks for one. */
  readonly certificateFile?: string
}

/** What a database is for; decides its name when the URL has none, and how refusals speak of it. */
export type Purpose = "views" | "vault"

const purposes = {
  views: {
    database: "tributary_views",
    store: "The read models' database",
    safe: "Nothing is lost: views follow the journal."
  },
  vault: {
    database: "tributary_vault",
    store: "The vault's database",
    safe: "Nothing was changed."
  }
} as const

/** The oldest server that its makers still mend, and this is made for. */
const versionMin = "6.0"
/** How long a connection may be without a byte while an answer is waited for. */
const silenceMillis = 10_000
/** How long a server is searched for, and a connection is opened. */
const selectionMillis = 3_000
/** How often each server is looked at while nothing is asked of it: how fast a recovery is seen. */
const heartbeatMillis = 2_000
/** Connections of one client. Operations beyond it wait within their time. */
const connectionsMax = 32

export type RefusalKind =
  | "WrongUrl"
  | "WrongFile"
  | "Unreachable"
  | "CredentialsRefused"
  | "ServerTooOld"
  | "NoReplicaSet"
  | "WrongDatabase"
  | "WrongMasterKey"
  | "WrongJournal"
  | "UnfinishedMove"

/** The database cannot be used as it is. No secret is in any field. */
export class DatabaseRefused extends Data.TaggedError("DatabaseRefused")<{
  readonly kind: RefusalKind
  readonly purpose: Purpose
  /** Hosts and database, without credentials. */
  readonly where: string
  readonly reason: string
  /** What to do. */
  readonly advice: string
}> {
  override get message() {
    const { store, safe } = purposes[this.purpose]
    return `${store} (${this.where}) cannot be used: ${this.reason}. ${safe} ${this.advice}`
  }
}

/** What a server says of itself. */
export interface DatabaseFacts {
  /** Hosts and database, without credentials. */
  readonly where: string
  readonly version: string
  /** Name of the replica set; null: none. */
  readonly replicaSet: string | null
  /** Behind routers, which have transactions too. */
  readonly sharded: boolean
  readonly transactions: boolean
  readonly tls: boolean
  /** Whether the URL names a user. */
  readonly credentials: boolean
}

export interface Database {
  readonly client: MongoClient
  readonly db: Db
  readonly facts: DatabaseFacts
}

type Refuse = (kind: RefusalKind, reason: string, advice: string) => DatabaseRefused

const refusal =
  (purpose: Purpose, where: string): Refuse =>
  (kind, reason, advice) =>
    new DatabaseRefused({ kind, purpose, where, reason, advice })

/** One PEM file may hold both. */
const certificateOf = (pem: Buffer) => ({ cert: pem, key: pem })

const fileOptions = ({ passwordFile, caFile, certificateFile }: DatabaseOptions, url: string): MongoClientOptions => ({
  ...(passwordFile === undefined ? {} : { auth: { username: userOf(url), password: readFileSync(passwordFile, "utf8").trim() } }),
  ...(caFile === undefined ? {} : { tls: true, ca: readFileSync(caFile) }),
  ...(certificateFile === undefined ? {} : { tls: true, ...certificateOf(readFileSync(certificateFile)) })
})

const clientOptions = {
  appName: "tributary",
  connectTimeoutMS: selectionMillis,
  heartbeatFrequencyMS: heartbeatMillis,
  ignoreUndefined: true,
  maxPoolSize: connectionsMax,
  promoteBuffers: true,
  serverSelectionTimeoutMS: selectionMillis,
  socketTimeoutMS: silenceMillis,
  waitQueueTimeoutMS: selectionMillis
} satisfies MongoClientOptions

/** The user's name, as far as the text is a URL at all. */
const userOf = (url: string): string => {
  const found = /^mongodb(?:\+srv)?:\/\/([^:@/]*)(?::[^@/]*)?@/u.exec(url)
  return found === null ? "" : decodeURIComponent(found[1]!)
}

/** The text that the driver objects to may hold a password, so it is not repeated. */
const urlAdvice = "Give it as mongodb://user:password@host:port/database, with special characters of the password percent-encoded."

/** The database that the URL names; empty: none. */
const databaseOf = (url: string): string => decodeURIComponent(/^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]*)/u.exec(url)?.[1] ?? "")

/** Nothing is sent yet. */
const makeClient = (options: DatabaseOptions, purpose: Purpose) =>
  Effect.try({
    try: () => {
      const url = Redacted.value(options.url)
      const client = new MongoClient(url, { ...clientOptions, ...fileOptions(options, url) })
      const { hosts, srvHost } = client.options
      const database = databaseOf(url) || purposes[purpose].database
      return { client, database, where: `${srvHost ?? hosts.map(String).join(",")}/${database}` }
    },
    catch: (cause) => {
      const refused = refusal(purpose, "by its URL")
      const { path, code } = cause as NodeJS.ErrnoException
      return path === undefined
        ? refused("WrongUrl", "its URL is not one of MongoDB", urlAdvice)
        : refused("WrongFile", `the file ${path} cannot be read (${code})`, "Correct its path or its rights.")
    }
  })

const notAuthenticated = new Set([18, 8000])
const notAuthorized = 13

/** Why a first contact failed. */
export const contactRefusal =
  ({ where }: { readonly where: string }, purpose: Purpose) =>
  (cause: unknown): DatabaseRefused => {
    const refused = refusal(purpose, where)
    if (cause instanceof MongoCompatibilityError)
      return refused("ServerTooOld", "its server is too old for this release's driver", `Upgrade it to ${versionMin} or later.`)
    if (cause instanceof MongoServerError && notAuthenticated.has(Number(cause.code)))
      return refused("CredentialsRefused", "its server refuses the user or the password", "Check both, and the authSource of the URL.")
    if (cause instanceof MongoServerError && cause.code === notAuthorized)
      return refused(
        "CredentialsRefused",
        "its server does not let this user work with the database",
        "Give a user with the role readWrite on it."
      )
    return refused("Unreachable", reasonOf(cause), "Check that the server runs, and the URL's hosts, replica set and TLS options.")
  }

const isBelow = (version: string, least: string): boolean => {
  const [have, want] = [version, least].map((text) => text.split(".").map(Number))
  return have![0]! !== want![0]! ? have![0]! < want![0]! : have![1]! < want![1]!
}

const look = async (client: MongoClient, db: Db, where: string): Promise<DatabaseFacts> => {
  const hello = await db.command({ hello: 1 })
  const { version } = await db.command({ buildInfo: 1 })
  await db.listCollections({}, { nameOnly: true }).toArray() // The first command that needs the user's rights.
  const replicaSet = typeof hello["setName"] === "string" ? hello["setName"] : null
  const sharded = hello["msg"] === "isdbgrid"
  return {
    where,
    version: String(version),
    replicaSet,
    sharded,
    transactions: replicaSet !== null || sharded,
    tls: client.options.tls === true,
    credentials: client.options.credentials !== undefined
  }
}

/**
 * Connects, and refuses what cannot work. Later on the client finds its server again by itself, whenever it was lost. With
 * `replicaSet: "required"` a single server is refused: what it has acknowledged may go with its disk.
 */
export const open = (
  options: DatabaseOptions,
  purpose: Purpose,
  needs: { readonly replicaSet: "required" | "optional" }
): Effect.Effect<Database, DatabaseRefused, Scope.Scope> =>
  Effect.gen(function* () {
    const { client, database, where } = yield* Effect.acquireRelease(makeClient(options, purpose), ({ client }) =>
      Effect.promise(() => client.close())
    )
    const refused = refusal(purpose, where)
    const db = client.db(database)
    const facts = yield* Effect.tryPromise({
      try: () => inTime(() => look(client, db, where)),
      catch: contactRefusal({ where }, purpose)
    })
    if (isBelow(facts.version, versionMin))
      return yield* Effect.fail(refused("ServerTooOld", `its server is MongoDB ${facts.version}`, `Upgrade it to ${versionMin} or later.`))
    if (needs.replicaSet === "required" && !facts.transactions)
      return yield* Effect.fail(
        refused(
          "NoReplicaSet",
          "its server is not a member of a replica set, so nothing that it acknowledges is on a second machine",
          "Give the URL of a replica set, or start the server as one of a single member: mongod --replSet rs0, then rs.initiate()."
        )
      )
    return { client, db, facts }
  })

/** For `doctor`: connects, looks and closes again. */
export const inspect = (options: DatabaseOptions, purpose: Purpose): Effect.Effect<DatabaseFacts, DatabaseRefused> =>
  Effect.scoped(Effect.map(open(options, purpose, { replicaSet: "optional" }), ({ facts }) => facts))
