/** The types of events that the journal holds, in a stream of their own: a release that cannot read them all does not start (R5). */
import { randomUUID } from "node:crypto"
import { jsonBytes, noMetadata, type StoreDriver } from "./driver.ts"
import { StoreFailure } from "./failure.ts"
import { StoreRefused } from "./refusal.ts"

const stream = "tributary-event-types"
const triesMax = 16

interface TypeData {
  readonly type: string
  readonly version: number
}

export class EventTypes {
  private readonly driver: StoreDriver
  private readonly stored = new Set<string>()
  private revision = -1
  private storing: Promise<void> = Promise.resolve()

  constructor(driver: StoreDriver) {
    this.driver = driver
  }

  /** Refuses a journal with a type, or a version of one, that this release cannot read. */
  async open(readable: Readonly<Record<string, number>>): Promise<void> {
    await this.load()
    const unknown = [...this.stored].filter((line) => {
      const at = line.lastIndexOf("@")
      return (readable[line.slice(0, at)] ?? 0) < Number(line.slice(at + 1))
    })
    if (unknown.length > 0)
      throw new StoreRefused({
        kind: "UnknownEventTypes",
        reason: `The journal holds events that this release cannot read: ${unknown.sort().join(", ")}. Nothing was changed. Start the release that wrote them, or a later one.`
      })
  }

  /** Null: all of them are stored already. */
  missing(events: ReadonlyArray<TypeData>): ReadonlyArray<string> | null {
    if (events.every(({ type, version }) => this.stored.has(`${type}@${version}`))) return null
    return [...new Set(events.map(({ type, version }) => `${type}@${version}`))]
  }

  /** Stored before the first event that is of them. */
  store(lines: ReadonlyArray<string>): Promise<void> {
    const next = this.storing.then(() => this.append(lines))
    this.storing = next.catch(() => undefined)
    return next
  }

  private async append(lines: ReadonlyArray<string>): Promise<void> {
    for (let tries = 0; tries < triesMax; tries++) {
      const left = lines.filter((line) => !this.stored.has(line))
      if (left.length === 0) return
      const events = left.map((line) => {
        const at = line.lastIndexOf("@")
        const data: TypeData = { type: line.slice(0, at), version: Number(line.slice(at + 1)) }
        return { id: randomUUID(), type: "event-type", json: true, data: jsonBytes(data), metadata: noMetadata }
      })
      const answer = await this.driver.append(stream, this.revision, events)
      if (answer.is === "written") {
        this.revision = answer.revision
        for (const line of left) this.stored.add(line)
        return
      }
      await this.load()
    }
    throw new StoreFailure({ kind: "other", written: "no", reason: "the list of event types changes all the time" })
  }

  private async load(): Promise<void> {
    const events = await this.driver.reads.stream({ stream, from: this.revision + 1, limit: Number.MAX_SAFE_INTEGER })
    for (const { data, serverRevision } of events ?? []) {
      const { type, version } = JSON.parse(Buffer.from(data).toString("utf8")) as TypeData
      this.stored.add(`${type}@${version}`)
      this.revision = serverRevision
    }
  }
}
