/** Owns buckets of open work: takes them over, follows the log for them, and leaves checkpoints for whoever comes next. */
import type { Position } from "#domain/ids.ts"
import type { StoreDriver } from "./driver.ts"
import { StoreFailure } from "./failure.ts"
import { Follower } from "./follower.ts"
import { EventDamaged } from "./recorded-event.ts"
import { WorkCheckpoints } from "./work-checkpoints.ts"
import { WorkFold } from "./work-fold.ts"

export interface WorkOwnerOptions {
  readonly checkpointMillis: number
  /** Changes of a bucket, and events of the whole log, after which it is checkpointed. */
  readonly changesMin: number
  readonly eventsMin: number
  /** After so long, a bucket that was lost to another owner and is still to be ours is taken again. */
  readonly reclaimMillis: number
}
/** Buckets that are taken over at the same time. */
const claimsAtOnce = 32
/** How long a question waits for the fold to have come as far as the asker's own writes. */
const waitMillis = 10_000
const pageMax = 1_000

interface Waiter {
  readonly ready: () => boolean
  readonly resolve: () => void
}

export class WorkOwner {
  readonly fold = new WorkFold()
  private readonly driver: StoreDriver
  private readonly checkpoints: WorkCheckpoints
  private readonly options: WorkOwnerOptions
  private readonly newestOwn: () => Position | null
  private readonly onTaken: () => void
  private readonly revisions = new Map<string, number>()
  /** Lost to another owner, and left to it for a moment. */
  private readonly fenced = new Set<string>()
  private reclaiming: NodeJS.Timeout | undefined
  private closed = false
  private follower: Follower | null = null
  private following = 0
  private live = true
  /** What this process is to own. */
  private wanted: ReadonlySet<string> = new Set()
  private damage: EventDamaged | null = null
  private steps: Promise<unknown> = Promise.resolve()
  /** The last change of what is owned. */
  private owning: Promise<unknown> = Promise.resolve()
  private readonly waiters = new Set<Waiter>()
  private readonly timer: NodeJS.Timeout

  constructor(driver: StoreDriver, newestOwn: () => Position | null, options: WorkOwnerOptions, onTaken: () => void) {
    this.driver = driver
    this.newestOwn = newestOwn
    this.options = options
    this.onTaken = onTaken
    this.checkpoints = new WorkCheckpoints(driver)
    this.timer = setInterval(() => void this.checkpoint().catch(() => undefined), options.checkpointMillis)
  }

  /** Takes over what is new, lets go of what is not wanted any more. Calls follow each other. */
  own(wanted: ReadonlySet<string>): Promise<void> {
    this.wanted = wanted
    const done = this.inOrder(async () => {
      for (const bucket of this.fenced) if (!wanted.has(bucket)) this.fenced.delete(bucket)
      const gone = [...this.fold.owned].filter((bucket) => !wanted.has(bucket))
      await this.write(gone).catch(() => undefined) // Whoever takes it over reads more of the log.
      for (const bucket of gone) this.drop(bucket)
      const claimed = [...wanted].filter((bucket) => !this.fold.owned.has(bucket) && !this.fenced.has(bucket))
      for (let at = 0; at < claimed.length; at += claimsAtOnce) {
        const batch = claimed.slice(at, at + claimsAtOnce)
        const found = await Promise.all(batch.map((bucket) => this.checkpoints.claim(bucket)))
        for (const [index, bucket] of batch.entries()) {
          this.fold.add(bucket, found[index]!)
          this.revisions.set(bucket, found[index]!.revision)
        }
      }
      if (claimed.length > 0 || this.follower === null) this.follow()
      if (claimed.length > 0) this.onTaken()
    })
    this.owning = done.catch(() => undefined)
    return done
  }

  /** Until the fold holds everything that this process has written, and what lay in the log when a bucket was taken over. */
  async caughtUp(): Promise<void> {
    await this.owning
    if (this.damage !== null) throw this.damage
    if (this.fold.owned.size === 0) return
    const target = this.newestOwn()
    const ready = () =>
      this.damage !== null || (this.live && (target === null || (this.fold.position !== null && this.fold.position >= target)))
    if (ready()) return
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        this.waiters.delete(waiter)
        resolve()
      }
      const waiter: Waiter = { ready, resolve: done }
      const timer = setTimeout(() => {
        this.waiters.delete(waiter)
        const reason = `open work has not been read from EventStoreDB at ${this.driver.endpoint} within ${waitMillis} ms`
        reject(new StoreFailure({ kind: "late", written: "no", reason }))
      }, waitMillis)
      this.waiters.add(waiter)
    })
    if (this.damage !== null) throw this.damage
  }

  /** Writes what is worth it. */
  checkpoint(changesMin = this.options.changesMin): Promise<void> {
    return this.inOrder(() => this.write(this.fold.worthCheckpoint(changesMin, this.options.eventsMin)))
  }

  async close(): Promise<void> {
    // The last checkpoint may find a bucket lost: who leaves does not take it again.
    this.closed = true
    clearInterval(this.timer)
    clearTimeout(this.reclaiming)
    await this.checkpoint(1).catch(() => undefined)
    this.following++
    this.follower?.close()
    this.follower = null
  }

  /** Who fenced us may have let go meanwhile, without our set ever changing: what is still wanted is taken again. */
  private reclaimSoon(): void {
    if (this.closed) return
    this.reclaiming ??= setTimeout(() => {
      this.reclaiming = undefined
      this.fenced.clear()
      void this.own(this.wanted).catch(() => this.reclaimSoon())
    }, this.options.reclaimMillis)
  }

  private async write(buckets: ReadonlyArray<string>): Promise<void> {
    for (let at = 0; at < buckets.length; at += claimsAtOnce)
      await Promise.all(buckets.slice(at, at + claimsAtOnce).map((bucket) => this.writeOne(bucket)))
  }

  private async writeOne(bucket: string): Promise<void> {
    const work = this.fold.workOf(bucket)
    if (work === undefined) return
    this.fold.checkpointed(bucket)
    const revision = await this.checkpoints.write(bucket, this.revisions.get(bucket)!, work)
    if (revision !== null) this.revisions.set(bucket, revision)
    else {
      this.fenced.add(bucket)
      this.drop(bucket)
      this.reclaimSoon()
    }
  }

  private drop(bucket: string): void {
    this.fold.drop(bucket)
    this.revisions.delete(bucket)
  }

  /** Reads the log anew from where the bucket that is furthest behind stands; the others skip what they have. */
  private follow(): void {
    this.follower?.close()
    this.live = false
    const follower = new Follower(this.driver.reads, this.fold.restart(), pageMax)
    this.follower = follower
    const reading = ++this.following
    const next = () => {
      follower.next(({ events, position, atHead }) => {
        if (reading !== this.following) return
        try {
          this.fold.apply(events, position)
        } catch (cause) {
          if (!(cause instanceof EventDamaged)) throw cause
          this.damage = cause
        }
        this.live ||= atHead
        for (const waiter of this.waiters) if (waiter.ready()) waiter.resolve()
        if (this.damage === null) next()
      })
    }
    next()
  }

  private inOrder<A>(step: () => Promise<A>): Promise<A> {
    const done = this.steps.then(step, step)
    this.steps = done.catch(() => undefined)
    return done
  }
}
