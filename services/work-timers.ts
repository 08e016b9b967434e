/** Wakes what becomes due soon: one sleeping fiber for the earliest. What is not kept here is found in the open-work index. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Scope, ScopeKey, StreamName } from "#domain/scope.ts"
import { DueQueue } from "./due-queue.ts"
import { hasShare } from "./work-queue.ts"

export interface WorkTimersOptions<Item> {
  /** Shared by all tenants; what comes beyond a tenant's share is left to the index. */
  readonly max: number
  readonly now: () => number
  /** Runs an effect on its own, as long as the worker lives. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly due: (item: Item) => void
}

export class WorkTimers<Item extends { readonly scope: Scope; readonly stream: StreamName }> {
  readonly #options: WorkTimersOptions<Item>
  readonly #queue = new DueQueue<Item>()
  /** One timer for a stream, the first. */
  readonly #streams = new Set<StreamName>()
  /** How many each tenant has. */
  readonly #held = new Map<ScopeKey, number>()
  #armed: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined

  constructor(options: WorkTimersOptions<Item>) {
    this.#options = options
  }

  get size(): number {
    return this.#queue.size
  }

  /** `at`: epoch milliseconds. */
  add(at: number, item: Item): void {
    const held = this.#held.get(item.scope.key) ?? 0
    if (this.#streams.has(item.stream) || !hasShare(held, this.#queue.size, this.#options.max)) return
    this.#streams.add(item.stream)
    this.#held.set(item.scope.key, held + 1)
    this.#queue.add(at, item)
    this.#arm()
  }

  #arm(): void {
    const at = this.#queue.earliestAt
    if (at === undefined || (this.#armed !== undefined && this.#armed.at <= at)) return
    const before = this.#armed?.fiber
    const { fork, now } = this.#options
    const fire = Effect.sync(() => this.#fire())
    this.#armed = { at, fiber: fork(Effect.andThen(Effect.sleep(Math.max(0, at - now())), fire)) }
    if (before !== undefined) fork(Fiber.interrupt(before))
  }

  #fire(): void {
    this.#armed = undefined
    const now = this.#options.now()
    for (let item = this.#queue.take(now); item !== undefined; item = this.#queue.take(now)) {
      this.#streams.delete(item.stream)
      const left = this.#held.get(item.scope.key)! - 1
      if (left === 0) this.#held.delete(item.scope.key)
      else this.#held.set(item.scope.key, left)
      this.#options.due(item)
    }
    this.#arm()
  }
}
