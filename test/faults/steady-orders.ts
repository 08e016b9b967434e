/** Orders of many tenants at a steady rate, each delivered until it is acknowledged, and every answer kept. */
import { setTimeout as pause } from "node:timers/promises"
import { deliverOnce, externalIdOf } from "./orders-platform.ts"

const againMillis = 250

export class SteadyOrders {
  /** Orders that were answered with a 2xx. */
  readonly acknowledged = new Set<string>()
  /** How often which answer was given that acknowledges nothing. */
  readonly refusals = new Map<string, number>()
  /** The longest that an answer took. */
  slowestMillis = 0
  private readonly underWay = new Set<Promise<void>>()
  private readonly timer: NodeJS.Timeout
  private next = 0

  /** `together`: so many orders of one tenant come at the same moment. */
  constructor(hooks: ReadonlyArray<string>, perSecond: number, together = 1) {
    this.timer = setInterval(
      () => {
        const hook = hooks[(this.next / together) % hooks.length]!
        for (let count = 0; count < together; count++) {
          const sending = this.send(this.next++, hook)
          this.underWay.add(sending)
          void sending.finally(() => this.underWay.delete(sending))
        }
      },
      (1_000 / perSecond) * together
    )
  }

  /** Orders that were begun so far. */
  get begun(): number {
    return this.next
  }

  /** Waits until every order that was begun is acknowledged. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    await Promise.all(this.underWay)
  }

  /** Answers that a vendor cannot make sense of: anything but a 503 with Retry-After. */
  get wrongRefusals(): ReadonlyArray<string> {
    return [...this.refusals].filter(([answer]) => answer !== busy).map(([answer, count]) => `${count} deliveries were answered: ${answer}`)
  }
  get busyCount(): number {
    return this.refusals.get(busy) ?? 0
  }

  private async send(index: number, hook: string): Promise<void> {
    for (;;) {
      const began = performance.now()
      const response = await deliverOnce(hook, index)
      this.slowestMillis = Math.max(this.slowestMillis, performance.now() - began)
      if (response?.ok === true) break
      const answer =
        response === undefined ? "nothing" : `${response.status}${response.headers.has("retry-after") ? " with Retry-After" : ""}`
      this.refusals.set(answer, (this.refusals.get(answer) ?? 0) + 1)
      await pause(againMillis)
    }
    this.acknowledged.add(externalIdOf(index))
  }
}
const busy = "503 with Retry-After"
