/** The event types of one aggregate: their schemas, current versions and the upcasters that read older ones. */
import * as Schema from "effect/Schema"

/** Turns the stored fields of one version into those of the next; pure. */
export type Upcaster = (data: Record<string, unknown>) => Record<string, unknown>

export interface EventFamily<Event extends { readonly _tag: string }> {
  readonly types: ReadonlyArray<string>
  /** Current version of a type; 1 unless upcasters say otherwise. */
  readonly versionOf: (type: string) => number
  /** Stored type, version and fields to the event of today. Throws `UnknownEvent` or a schema error, both defects (R5). */
  readonly decode: (type: string, version: number, data: Record<string, unknown>) => Event
  /** The JSON text to store: the fields without the tag. */
  readonly encode: (event: Event) => string
}

/** A stored event that this release cannot read: an unknown type, or a version from a newer release. */
export class UnknownEvent extends Error {
  override readonly name = "UnknownEvent"
  constructor(type: string, version: number, known: number | undefined) {
    super(
      known === undefined
        ? `This release does not know the event type ${type}. Nothing was changed. Start the release that wrote it, or a newer one.`
        : `This release reads ${type} up to version ${known}, but version ${version} is stored. Nothing was changed. Start a newer release.`
    )
  }
}

// biome-ignore lint/suspicious/noExplicitAny: how the events of a union are written differs from one to the next.
type AnyCodec<Event> = Schema.Codec<Event, any>
interface TaggedUnionSchema<Event> extends AnyCodec<Event> {
  // biome-ignore lint/suspicious/noExplicitAny: each case is an event of its own.
  readonly cases: Record<string, AnyCodec<any>>
}

/**
 * The family of a `Schema.TaggedUnion`. `upcasters` lists, per type, the steps from version 1 to 2, 2 to 3 and so on: the
 * current version of a type is one more than the number of its steps.
 */
export const eventFamily = <Event extends { readonly _tag: string }>(
  union: TaggedUnionSchema<Event>,
  upcasters: Readonly<Record<string, ReadonlyArray<Upcaster>>> = {}
): EventFamily<Event> => {
  const types = Object.keys(union.cases)
  const codecs = new Map(
    types.map((type) => [
      type,
      {
        version: 1 + (upcasters[type]?.length ?? 0),
        steps: upcasters[type] ?? [],
        decode: Schema.decodeUnknownSync(union.cases[type]!),
        encode: Schema.encodeUnknownSync(union.cases[type]!)
      }
    ])
  )
  return {
    types,
    versionOf: (type) => codecs.get(type)?.version ?? 1,
    decode: (type, version, data) => {
      const codec = codecs.get(type)
      if (codec === undefined) throw new UnknownEvent(type, version, undefined)
      if (version > codec.version) throw new UnknownEvent(type, version, codec.version)
      let fields = data
      for (let from = version; from < codec.version; from++) fields = codec.steps[from - 1]!(fields)
      return codec.decode({ ...fields, _tag: type }) as Event
    },
    // Left out as undefined: an object from which a field was taken out is slow to copy and to write.
    encode: (event) => JSON.stringify({ ...(codecs.get(event._tag)!.encode(event) as object), _tag: undefined })
  }
}
