/** What an installation stands on, as the rest of `infra` sees it: one data folder, or servers. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

export class Installation extends Context.Service<
  Installation,
  {
    readonly form: "embedded" | "distributed"
    /** Where the stores' files lie; null where servers keep them. */
    readonly dataFolder: string | null
    /** What a start says of its stores: a label and what it names, without credentials. */
    readonly about: ReadonlyArray<readonly [label: string, what: string]>
    /** Tells commands on this machine where the server listens, where there is a place for it. */
    readonly announce: (url: string) => Effect.Effect<void>
    /** Resolves with the reason when the process cannot go on and has to be started again. */
    readonly lost: Effect.Effect<string>
  }
>()("tributary/infra/Installation") {}
