/** Parked runs: once a connection can be used, those that wait for one look again. Driven by open work, so a crash forgets nobody. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ConnectorId } from "#domain/ids.ts"
import { integration } from "#domain/integration.ts"
import { type Origin, systemActor } from "#domain/recorded.ts"
import { run } from "#domain/run.ts"
import { kindAndIdOf, type SpaceScope, type TenantScope } from "#domain/scope.ts"
import { OpenWork, type WorkItem } from "./ports/open-work.ts"
import { Transact, type TransactError } from "./transact.ts"

const page = 1_000
const origin: Origin = { actor: systemActor("parked-runs") }

export class ParkedRuns extends Context.Service<
  ParkedRuns,
  {
    /** Releases the scope's runs that wait for this connector; a space's own connection serves all its tenants. */
    readonly release: (scope: SpaceScope | TenantScope, connectorId: ConnectorId) => Effect.Effect<void, TransactError>
  }
>()("tributary/services/ParkedRuns") {
  static readonly layer = Layer.effect(
    ParkedRuns,
    Effect.gen(function* () {
      const openWork = yield* OpenWork
      const { read, transact } = yield* Transact

      const releaseOne = Effect.fnUntraced(function* (scope: TenantScope, runId: string, connectorId: ConnectorId) {
        const { state } = yield* read(run, scope, runId)
        if (state.status !== "parked" || state.parked?.connectorId !== connectorId) return
        yield* transact(run, scope, runId, { _tag: "ReleaseRun" }, { origin }).pipe(
          // It ended meanwhile.
          Effect.catchTag(["RunNotFound", "RunNotInState", "StepNotYours"], () => Effect.void)
        )
      })

      const release = Effect.fnUntraced(function* (scope: SpaceScope | TenantScope, connectorId: ConnectorId) {
        let after: WorkItem | undefined
        do {
          const items: ReadonlyArray<WorkItem> = yield* openWork.due({
            before: Number.MAX_SAFE_INTEGER,
            limit: page,
            ...(scope.level === "tenant" ? { key: scope.key } : {}),
            ...(after === undefined ? {} : { after })
          })
          for (const item of items) {
            const { kind, id } = kindAndIdOf(item.stream)
            if (kind === "run" && item.scope.level === "tenant" && item.scope.space === scope.space)
              yield* releaseOne(item.scope, id, connectorId)
          }
          after = items.length < page ? undefined : items.at(-1)
        } while (after !== undefined)
        yield* Effect.catchTag(
          transact(integration, scope, connectorId, { _tag: "NoteRunsReleased" }, { origin }),
          ["ConnectionNotFound", "ConnectionExists", "TooManyConnections"],
          (error) => Effect.die(error)
        )
      })

      return ParkedRuns.of({ release })
    })
  )
}
