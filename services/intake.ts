/** Lets deliveries in by turns with the runs that they lead to, so that what is acknowledged also runs (R9). */
import * as Effect from "effect/Effect"

export interface IntakeOptions {
  /** Items ready to be taken up, at this moment. */
  readonly ready: () => number
  readonly now: () => number
  /** Runs an effect on its own, as long as the worker lives. */
  readonly fork: (effect: Effect.Effect<void>) => unknown
}

const limits = {
  /** Items ready from which a delivery waits its turn; but never longer than this. */
  readyMax: 128,
  waitMillis: 20
} as const

export class Intake {
  readonly #options: IntakeOptions
  /** The oldest first, with the time until which they wait. */
  readonly #waiting: Array<{ readonly until: number; readonly enter: () => void }> = []
  #watching = false

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Comes at once while there is room, else in its turn. */
  readonly admission: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#options.ready() < limits.readyMax && this.#waiting.length === 0) return Effect.void
    return Effect.callback<void>((resume) => {
      this.#waiting.push({ until: this.#options.now() + limits.waitMillis, enter: () => resume(Effect.void) })
      this.#watch()
    })
  })

  /** Something was taken up: as many enter as there is room for. */
  admit(): void {
    if (this.#waiting.length > 0) this.#enter(0)
  }

  #enter(now: number): void {
    let free = limits.readyMax - this.#options.ready()
    while (this.#waiting.length > 0 && (free > 0 || this.#waiting[0]!.until <= now)) {
      free--
      this.#waiting.shift()!.enter()
    }
  }

  /** One timer lets those in that have waited long enough. */
  #watch(): void {
    if (this.#watching || this.#waiting.length === 0) return
    this.#watching = true
    const look = Effect.sync(() => {
      this.#watching = false
      this.#enter(this.#options.now())
      this.#watch()
    })
    this.#options.fork(Effect.andThen(Effect.sleep(limits.waitMillis / 2), look))
  }
}
