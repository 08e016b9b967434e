/** What a deep check found wrong: bounded, as a lost page can damage millions of rows. */
import { messageOf } from "./write-failure.ts"

export type CheckedFile = "journal.db" | "vault.db" | "views.db"
export interface Damage {
  readonly file: CheckedFile
  /** Where, and what is wrong there. Holds nothing that was stored but names and numbers. */
  readonly damage: string
}

/** Kept for the report; more are only counted. */
const keptMax = 100

export class Damages {
  readonly kept: Array<Damage> = []
  readonly counts = new Map<CheckedFile, number>()

  add(file: CheckedFile, damage: string): void {
    this.counts.set(file, this.count(file) + 1)
    if (this.kept.length < keptMax) this.kept.push({ file, damage })
  }

  count(file: CheckedFile): number {
    return this.counts.get(file) ?? 0
  }

  /** What SQLite itself refuses to read is damage, too. Undefined when it was. */
  reading<A>(file: CheckedFile, what: string, read: () => A): A | undefined {
    try {
      return read()
    } catch (cause) {
      this.add(file, `${what} cannot be read: ${messageOf(cause)}`)
      return undefined
    }
  }
}
