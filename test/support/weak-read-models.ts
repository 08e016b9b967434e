/** Read models without transactions, as on a single MongoDB: views are written one by one, each guarded by its position, the checkpoint last. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Position } from "#domain/ids.ts"
import { type ModelDefinition, ReadModels, type StoredView } from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"

interface Stored {
  readonly definition: ModelDefinition
  readonly views: Map<string, StoredView>
  checkpoint: Position | null
  complete: boolean
}
const nameOf = (key: string, id: string) => `${key}/${id}`

export class WeakReadModels {
  readonly #models = new Map<string, Stored>()
  /** Single writes left before it breaks in the middle of a batch; then it works again. */
  writesLeft = Number.POSITIVE_INFINITY

  #write(): void {
    if (this.writesLeft-- > 0) return
    this.writesLeft = Number.POSITIVE_INFINITY
    throw new ReadModelsUnavailable({ reason: "the connection broke" })
  }

  #apply(model: string, from: Position | null, to: Position, views: ReadonlyArray<StoredView>): "applied" | "stale" {
    const stored = this.#models.get(model)!
    if (stored.checkpoint !== from) return "stale"
    for (const view of views) {
      const name = nameOf(view.key, view.id)
      this.#write()
      if (view.at > (stored.views.get(name)?.at ?? "")) stored.views.set(name, { ...view })
    }
    this.#write()
    stored.checkpoint = to
    return "applied"
  }

  views(model: string): ReadonlyArray<Record<string, unknown>> {
    return [...this.#models.get(model)!.views.values()].flatMap(({ view }) => (view === null ? [] : [view]))
  }

  layer() {
    const models = this.#models
    const attempt = <A>(work: () => A) => Effect.try({ try: work, catch: (cause) => cause as ReadModelsUnavailable })
    return Layer.succeed(
      ReadModels,
      ReadModels.of({
        facts: { atomicWithCheckpoint: false },
        define: (definition) =>
          attempt(() => void models.set(definition.model, { definition, views: new Map(), checkpoint: null, complete: false })),
        promote: (model) =>
          attempt(() => {
            models.get(model)!.complete = true
          }),
        apply: (...args) => attempt(() => this.#apply(...args)),
        load: (model, ids) => attempt(() => ids.map(({ key, id }) => models.get(model)!.views.get(nameOf(key, id)))),
        get: (model, { key }, id) => attempt(() => models.get(model)!.views.get(nameOf(key, id))?.view ?? null),
        find: (model) => attempt(() => ({ items: this.views(model), next: null })),
        checkpoint: (model) => attempt(() => models.get(model)!.checkpoint),
        models: Effect.sync(() =>
          [...models].map(([model, { definition, checkpoint, complete, views }]) => ({
            model,
            definition,
            checkpoint,
            complete,
            rows: views.size
          }))
        ),
        drop: (model) => attempt(() => void models.delete(model))
      })
    )
  }
}
