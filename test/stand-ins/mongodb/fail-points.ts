/**
 * Faults on command, as MongoDB's `configureFailPoint: "failCommand"`. Ours alone is `data.afterwards`: the command is carried out,
 * and then fails or loses its connection, so that its outcome is unknown to the caller.
 */
import type { Document } from "bson"
import { CommandFailed } from "./failures.ts"

interface FailPoint {
  times: number
  readonly commands: ReadonlySet<string>
  readonly code: number | undefined
  readonly labels: ReadonlyArray<string>
  readonly closes: boolean
  readonly afterwards: boolean
}

/** The connection is to be closed instead of an answer. */
export class ConnectionDropped extends Error {}

export class FailPoints {
  #active: FailPoint | null = null
  /** How often it struck. */
  struck = 0

  configure({ mode, data }: Document): Document {
    const times = mode === "off" ? 0 : mode === "alwaysOn" ? Number.POSITIVE_INFINITY : Number(mode.times)
    this.#active = {
      times,
      commands: new Set(data?.failCommands ?? []),
      code: data?.errorCode,
      labels: data?.errorLabels ?? [],
      closes: data?.closeConnection === true,
      afterwards: data?.afterwards === true
    }
    return { ok: 1, count: this.struck }
  }

  strike(command: string, afterwards: boolean): void {
    const point = this.#active
    if (point === null || point.times <= 0 || point.afterwards !== afterwards || !point.commands.has(command)) return
    point.times--
    this.struck++
    if (point.closes) throw new ConnectionDropped()
    throw new CommandFailed(point.code ?? 1, "failing command due to 'failCommand' failpoint", point.labels)
  }
}
