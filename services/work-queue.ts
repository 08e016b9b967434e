/**
 * What is ready to be gone on with, tenant by tenant: each has its turn and as much in hand as it may, and none of them fills the room
 * in which the others wait.
 */
import type { Scope, ScopeKey, SpaceScope, StreamName, TenantScope } from "#domain/scope.ts"

export interface Item {
  readonly stream: StreamName
  readonly kind: string
  readonly id: string
  /** Found in the index without anybody holding it: a crash came in between (R14). */
  readonly recovered: boolean
}
/** A tenant, or the space with work of its own. */
export interface Tenant {
  readonly scope: SpaceScope | TenantScope
  readonly deliveries: Array<Item>
  /** Runs, and integrations whose waiting runs are to be told. */
  readonly others: Array<Item>
  inFlight: number
  /** `runs.inFlightMax` as it held at the last look. */
  inFlightMax: number
  routing: boolean
  /** In the ring of those that have their turn. */
  queued: boolean
  /** Of its items, those that could be taken now. */
  takeable: number
  /** More of it waits in the index, for lack of room. */
  left: Left | null
}
interface Left {
  /** Some of it from before this process, or it may be. */
  recovered: boolean
  /** The index is being asked for it. */
  filling: boolean
  /** Since it was asked, there was no room for some of it. */
  missed: boolean
}
/** What is taken from one tenant at a time, and is in hand from then on. */
export interface Turn {
  readonly tenant: Tenant
  readonly others: ReadonlyArray<Item>
  readonly deliveries: ReadonlyArray<Item>
}
export interface WorkQueueLimits {
  /** Items that wait here; beyond it they wait in the index. */
  readonly ready: number
  /** Items in hand at the same time. */
  readonly inFlight: number
  /** Deliveries, and other items, taken from one tenant before the next has its turn. */
  readonly quantum: number
}
type Hold = "ready" | "active" | "again"

/**
 * Whether one of many that share some room may hold more of it: as much as is free for all. Whoever is alone gets half, two get a third
 * each, and who comes last still finds room (Choudhury and Hahne, "Dynamic queue length thresholds", 1998, with a factor of 1).
 */
export const hasShare = (held: number, all: number, max: number): boolean => held < max - all

export class WorkQueue {
  readonly #limits: WorkQueueLimits
  readonly #tenants = new Map<ScopeKey, Tenant>()
  readonly #ring: Array<Tenant> = []
  readonly #holds = new Map<StreamName, Hold>()
  /** Those of whom more waits in the index. */
  readonly #short = new Set<Tenant>()
  #lookedThrough = false
  readonly #idlers: Array<() => void> = []
  #ready = 0
  #takeable = 0
  #inFlight = 0
  #stopped = false

  constructor(limits: WorkQueueLimits) {
    this.#limits = limits
  }

  get stopped(): boolean {
    return this.#stopped
  }
  get ready(): number {
    return this.#ready
  }
  get inFlight(): number {
    return this.#inFlight
  }
  get tenants(): number {
    return this.#tenants.size
  }
  /** Items that wait for their turn alone, and not for their tenant's runs to end. */
  get takeable(): number {
    return this.#inFlight < this.#limits.inFlight ? this.#takeable : 0
  }

  isHeld(stream: StreamName): boolean {
    return this.#holds.has(stream)
  }
  isInHand(stream: StreamName): boolean {
    return this.#holds.get(stream) === "active"
  }

  /** False: its tenant has its share waiting already; the index has this one, and is asked for it once there is room (`short`). */
  offer(scope: SpaceScope | TenantScope, item: Item): boolean {
    const hold = this.#holds.get(item.stream)
    if (hold !== undefined) {
      if (hold === "active") this.#holds.set(item.stream, "again")
      return true
    }
    if (this.#stopped) return true
    const tenant = this.#tenantOf(scope)
    // Those before it come first.
    const isNext = tenant.left === null || tenant.left.filling
    if (!isNext || !hasShare(waiting(tenant), this.#ready, this.#limits.ready)) {
      this.#leave(tenant, item.recovered || !this.#lookedThrough)
      return false
    }
    this.#holds.set(item.stream, "ready")
    this.#ready++
    ;(item.kind === "delivery" ? tenant.deliveries : tenant.others).push(item)
    this.settle(tenant)
    return true
  }

  /** The next tenant's turn; undefined: nothing can be taken now. */
  next(): Turn | undefined {
    if (this.#stopped || this.#inFlight >= this.#limits.inFlight) return undefined
    const tenant = this.#ring.shift()
    if (tenant === undefined) return undefined
    tenant.queued = false
    const others = this.#take(tenant, tenant.others)
    const deliveries = tenant.routing ? [] : this.#take(tenant, tenant.deliveries)
    if (deliveries.length > 0) tenant.routing = true
    this.settle(tenant)
    return { tenant, others, deliveries }
  }

  /** Takes in hand what nobody has offered, such as a run that begins with its event; null: somebody has it. */
  launch(scope: SpaceScope | TenantScope, stream: StreamName): Tenant | null {
    if (this.#holds.has(stream)) return null
    this.#holds.set(stream, "active")
    const tenant = this.#tenantOf(scope)
    this.#hold(tenant, 1)
    return tenant
  }

  /** Whether one more may be launched: those that wait have their turn first. `inFlightMax`: the tenant's limit. */
  hasRoom({ key }: Scope, inFlightMax: number): boolean {
    if (this.#stopped || this.#inFlight >= this.#limits.inFlight) return false
    const tenant = this.#tenants.get(key)
    if (tenant === undefined) return true
    this.limit(tenant, inFlightMax)
    return tenant.inFlight < inFlightMax && waiting(tenant) === 0 && tenant.left === null
  }

  /** How many of its runs, and deliveries that are routed, may be in hand. */
  limit(tenant: Tenant, inFlightMax: number): void {
    if (tenant.inFlightMax === inFlightMax) return
    tenant.inFlightMax = inFlightMax
    this.#count(tenant)
  }

  /** A batch of deliveries is routed: the next one may begin. Each of them is still in hand. */
  routed(tenant: Tenant): void {
    tenant.routing = false
  }

  /** An item is out of our hands. True: it was offered meanwhile, and is to be looked at again. */
  release(tenant: Tenant, { stream }: Item): boolean {
    const again = this.#holds.get(stream) === "again"
    this.#holds.delete(stream)
    this.#hold(tenant, -1)
    return again
  }

  /** After something was released: the tenant has its turn again, or is forgotten. */
  settle(tenant: Tenant): void {
    this.#count(tenant)
    const canGoOn = tenant.others.length > 0 || (tenant.deliveries.length > 0 && !tenant.routing)
    if (canGoOn && tenant.inFlight < tenant.inFlightMax) {
      if (!tenant.queued) this.#ring.push(tenant)
      tenant.queued = true
    } else if (!tenant.queued && waiting(tenant) === 0 && tenant.inFlight === 0 && !tenant.routing && tenant.left === null) {
      this.#tenants.delete(tenant.scope.key)
    }
    if (this.#isIdle()) while (this.#idlers.length > 0) this.#idlers.shift()!()
  }

  /** Whether everything that was open before this process, or before it took over, has been offered. */
  lookedThrough(isOver: boolean): void {
    this.#lookedThrough = isOver
  }

  /** Whether what is found in the index was in nobody's hands before: what there was no room for here was not (R14). */
  isRecovered({ key }: Scope): boolean {
    return this.#tenants.get(key)?.left?.recovered ?? true
  }

  /** Those of whom little waits here and more in the index: whoever asks offers it, oldest first, until there is no room, and says `filled`. */
  short(): ReadonlyArray<Tenant> {
    if (this.#short.size === 0 || this.#stopped) return []
    const { quantum, ready } = this.#limits
    const short: Array<Tenant> = []
    for (const tenant of this.#short) {
      const held = waiting(tenant)
      // Worth a look into the index: there is room for a turn's worth, or there is nothing here at all.
      const worth = held === 0 ? 0 : held + quantum
      if (tenant.left!.filling || held >= quantum * shortTurns || !hasShare(worth, this.#ready, ready)) continue
      tenant.left!.filling = true
      tenant.left!.missed = false
      short.push(tenant)
    }
    return short
  }

  /** The index was asked; `whole`: up to its end, or up to where there was no room. */
  filled(tenant: Tenant, whole: boolean): void {
    if (tenant.left === null) return
    tenant.left.filling = false
    if (!whole || tenant.left.missed) return
    tenant.left = null
    this.#short.delete(tenant)
    this.settle(tenant)
  }

  /** Lets go of what is ready and another's now; what is in hand is finished, and fenced by its revision. */
  letGo(isOurs: (scope: Scope) => boolean): void {
    for (const tenant of this.#tenants.values()) if (!isOurs(tenant.scope)) this.#clear(tenant)
  }

  /** Takes nothing any more. */
  stop(): void {
    this.#stopped = true
    for (const tenant of this.#ring.splice(0)) tenant.queued = false
    for (const tenant of this.#tenants.values()) this.#clear(tenant)
  }

  /** Calls back once, when nothing is ready or in hand, nor left in the index for lack of room. */
  whenIdle(callback: () => void): void {
    if (this.#isIdle()) callback()
    else this.#idlers.push(callback)
  }

  #isIdle(): boolean {
    return this.#ready === 0 && this.#inFlight === 0 && this.#short.size === 0
  }

  #tenantOf(scope: SpaceScope | TenantScope): Tenant {
    const known = this.#tenants.get(scope.key)
    if (known !== undefined) return known
    const tenant: Tenant = {
      scope,
      deliveries: [],
      others: [],
      inFlight: 0,
      // Until it was looked up.
      inFlightMax: this.#limits.quantum,
      routing: false,
      queued: false,
      takeable: 0,
      left: null
    }
    this.#tenants.set(scope.key, tenant)
    return tenant
  }

  #take(tenant: Tenant, from: Array<Item>): ReadonlyArray<Item> {
    const { inFlight, quantum } = this.#limits
    const room = Math.min(quantum, tenant.inFlightMax - tenant.inFlight, inFlight - this.#inFlight)
    if (room <= 0) return []
    const items = from.splice(0, room)
    this.#ready -= items.length
    this.#hold(tenant, items.length)
    for (const { stream } of items) this.#holds.set(stream, "active")
    return items
  }

  #hold(tenant: Tenant, count: number): void {
    tenant.inFlight += count
    this.#inFlight += count
    this.#count(tenant)
  }

  #count(tenant: Tenant): void {
    const takeable = tenant.inFlight < tenant.inFlightMax ? waiting(tenant) : 0
    this.#takeable += takeable - tenant.takeable
    tenant.takeable = takeable
  }

  #leave(tenant: Tenant, recovered: boolean): void {
    tenant.left ??= { recovered: false, filling: false, missed: false }
    tenant.left.recovered ||= recovered
    tenant.left.missed = true
    this.#short.add(tenant)
  }

  #clear(tenant: Tenant): void {
    for (const list of [tenant.others, tenant.deliveries]) {
      for (const { stream } of list) this.#holds.delete(stream)
      this.#ready -= list.length
      list.length = 0
    }
    tenant.left = null
    this.#short.delete(tenant)
    this.settle(tenant)
  }
}

/** Of so many turns' worth or less, a tenant's list is filled up again from the index. */
const shortTurns = 4

const waiting = ({ others, deliveries }: Tenant): number => others.length + deliveries.length
