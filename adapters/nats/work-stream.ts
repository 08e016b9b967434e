/** The work queue on the server: its names, its settings, and how it is made again whenever it is gone. */
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo
} from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import { bucketOf, type Scope } from "#domain/scope.ts"
import type { Nats } from "./connection.ts"

export interface WorkStreamOptions {
  /** Of this installation: two may share a server. See `prefixOf`. */
  readonly prefix: string
  /** How long a worker may hold a ticket before it comes again. */
  readonly leaseMillis: number
  /** Scopes pending at once. */
  readonly pendingMax: number
  /** Copies of the queue in a cluster of servers. */
  readonly replicas: number
}

/**
 * One announcement may be in a worker's hands and one more pending; the server merges the rest. A newer one never pushes an older
 * one out: a busy scope keeps its place in the queue.
 */
const messagesPerScope = 2
/** Ids of announcements are fresh; they only tell the repetition of a lost answer (R26). */
const repeatWindowMillis = 10_000
/** The server counts a lease a little longer than its holder does, who must be the first to know. */
const leaseSlack = 1.1
/** Tickets of one bucket in workers' hands. */
const ticketsPerBucket = 1_000
const nameTaken = 10058
/** Another consumer takes the same subjects, which a work queue gives to one alone. */
const placeTaken = 10100
/** The stream was made while its predecessor was being deleted, and has lost its files: nothing in it is worth keeping. */
const storeBroken = 10012
/** How often stream and consumers are made again while others delete them. */
const triesMax = 5

/** `tributary-<the journal's id>`: safe in a stream's name and as the first token of a subject. */
export const prefixOf = (journalId: string): string => `tributary-${journalId.replaceAll(/[^A-Za-z0-9-]/gu, "")}`

export const workSubject = (prefix: string, scope: Scope): string => `${prefix}.work.${bucketOf(scope.key)}.${scope.key}`
/** Bucket and scope key of a subject. */
export const subjectParts = (subject: string): { readonly bucket: string; readonly key: string } => {
  const [key, bucket] = subject.split(".").reverse()
  return { bucket: bucket!, key: key! }
}

export const workStreamName = (prefix: string): string => `${prefix}-work`
/** Tells one stream from another that was made under its name after it was deleted; the same for all processes. */
export const lifeOf = ({ created }: Pick<StreamInfo, "created">): string => created.replaceAll(/\D/gu, "")
/**
 * Another name in each life of the stream: the answer to a ticket of the life before would move a new consumer past messages that it
 * has not delivered yet, and they would hold their scope's places for ever.
 */
export const consumerName = (bucket: string, life: string): string => `bucket-${bucket}-${life}`

/** Makes the stream, or gives the one that is there today's settings. */
export const ensureStream = async (streams: Nats["Service"]["streams"], config: Partial<StreamConfig> & { readonly name: string }) => {
  try {
    return await streams.streams.add(config)
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === nameTaken) return await streams.streams.update(config.name, config)
    throw error
  }
}

export class WorkStream {
  private readonly streams: Nats["Service"]["streams"]
  private readonly options: WorkStreamOptions
  constructor(streams: Nats["Service"]["streams"], options: WorkStreamOptions) {
    this.streams = streams
    this.options = options
  }

  get name(): string {
    return workStreamName(this.options.prefix)
  }

  /** Resolves with the stream's life. */
  async ensure(buckets: Iterable<string>): Promise<string> {
    const wanted = [...buckets]
    for (let tries = 0; tries < triesMax; tries++) {
      const life = lifeOf(await this.ensureStream())
      const made = await this.ensureConsumers(wanted, life)
      // It may have been deleted and made again in between, by somebody else.
      if (made && lifeOf(await this.streams.streams.info(this.name)) === life) return life
    }
    throw new Error(`the stream ${this.name} is being made anew all the time`)
  }

  private ensureStream(): Promise<StreamInfo> {
    const { prefix, pendingMax, replicas } = this.options
    return ensureStream(this.streams, {
      name: this.name,
      subjects: [`${prefix}.work.*.*`],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
      discard: DiscardPolicy.New,
      discard_new_per_subject: true,
      max_msgs_per_subject: messagesPerScope,
      max_msgs: pendingMax * messagesPerScope,
      duplicate_window: nanos(repeatWindowMillis),
      num_replicas: replicas
    })
  }

  /** False: consumers of another life were in their place, and are gone now. */
  private async ensureConsumers(buckets: ReadonlyArray<string>, life: string): Promise<boolean> {
    const made = await Promise.allSettled(buckets.map((bucket) => this.ensureConsumer(bucket, life)))
    const failures = made.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []))
    if (failures.length === 0) return true
    const other = failures.find((failure) => !(failure instanceof JetStreamApiError && failure.code === placeTaken))
    if (other instanceof JetStreamApiError && other.code === storeBroken) await this.streams.streams.delete(this.name)
    if (other !== undefined) throw other
    await this.removeStrays()
    return false
  }

  /** Made by a process that did not know yet that the stream was made again. */
  private async removeStrays(): Promise<void> {
    const life = lifeOf(await this.streams.streams.info(this.name))
    for await (const { name } of this.streams.consumers.list(this.name))
      if (!name.endsWith(`-${life}`)) await this.streams.consumers.delete(this.name, name)
  }

  /** Scopes with an announcement on the server. */
  async pending(): Promise<number> {
    return (await this.streams.streams.info(this.name)).state.num_subjects ?? 0
  }

  /** The same one for all workers: a bucket that moves takes its leases along. */
  private ensureConsumer(bucket: string, life: string) {
    const { prefix, leaseMillis } = this.options
    return this.streams.consumers.add(this.name, {
      durable_name: consumerName(bucket, life),
      filter_subject: `${prefix}.work.${bucket}.*`,
      deliver_policy: DeliverPolicy.All,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(Math.ceil(leaseMillis * leaseSlack)),
      // What comes too often is put aside by ourselves: the server would keep it in the queue for ever (R26).
      max_deliver: -1,
      max_ack_pending: ticketsPerBucket
    })
  }
}
