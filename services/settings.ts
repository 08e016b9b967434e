/** Settings: what holds for a scope, who says so, and changing it. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import { fold } from "#domain/decider.ts"
import type { Actor, Origin } from "#domain/recorded.ts"
import { kindAndIdOf, platformScope, type Scope, type ScopeKey, scopeKeyOf, spaceScope, streamName } from "#domain/scope.ts"
import {
  isSettingKey,
  nearestSettingKeys,
  type SettingKey,
  type SettingLevel,
  type SettingValueOf,
  settingKeys
} from "#domain/setting-catalogue.ts"
import {
  explain,
  noSettings,
  resolve,
  type SettingExplained,
  type SettingRejected,
  type SettingsChain,
  type SettingsCommand,
  type SettingsState,
  SettingUnknown,
  settings
} from "#domain/settings.ts"
import { BoundedCache } from "./bounded-cache.ts"
import { Journal } from "./ports/journal.ts"
import type { JournalUnavailable } from "./ports/unavailable.ts"
import { type Expecting, type RevisionMismatch, Transact, type TransactError } from "./transact.ts"

/** For which integration (by connector) or flow, within the scope. */
export interface SettingTarget {
  readonly connectorId?: string | undefined
  readonly flowId?: string | undefined
}

/** Scopes whose settings are kept in memory; most hold the same empty state. */
const cachedScopesMax = 50_000
/** Events of a settings stream read at once when it is folded as of a past time. */
const historyPage = 1_000

const levelOf = (scope: Scope, target: SettingTarget): { readonly level: SettingLevel; readonly target?: string } => {
  if (target.flowId !== undefined) return { level: "flow", target: target.flowId }
  if (target.connectorId !== undefined) return { level: "integration", target: target.connectorId }
  return { level: scope.level }
}
const actorName = ({ kind, id }: Actor): string => `${kind}:${id}`

type ReadError = TransactError
export class Settings extends Context.Service<
  Settings,
  {
    /** The states to resolve several keys with, by `resolve` of the domain. From memory when they are there. */
    readonly chain: (scope: Scope, target?: SettingTarget) => Effect.Effect<SettingsChain, ReadError>
    readonly resolve: <Key extends SettingKey>(
      scope: Scope,
      key: Key,
      target?: SettingTarget
    ) => Effect.Effect<SettingValueOf<Key>, ReadError>
    /** Who says so, and what is overridden; `at` (epoch milliseconds): as it stood at that time. */
    readonly explain: (
      scope: Scope,
      key: string,
      options?: SettingTarget & { readonly at?: number | undefined }
    ) => Effect.Effect<SettingExplained, SettingUnknown | ReadError>
    /** Every key as it holds for the scope. */
    readonly list: (scope: Scope, target?: SettingTarget) => Effect.Effect<ReadonlyArray<SettingExplained>, ReadError>
    /** Of the scope's own settings, and of those that it inherits from, the nearest first; -1: nothing was ever set there. */
    readonly revisions: (scope: Scope) => Effect.Effect<ReadonlyArray<number>, ReadError>
    /** Sets it on the scope's own level, or on its integration or flow when the target names one. */
    readonly set: (
      scope: Scope,
      key: string,
      value: Schema.Json,
      target: SettingTarget,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<SettingExplained, SettingRejected | RevisionMismatch | TransactError>
    /** Takes back what was set on that level: the less specific one holds again. */
    readonly clear: (
      scope: Scope,
      key: string,
      target: SettingTarget,
      origin: Origin,
      expecting?: Expecting
    ) => Effect.Effect<SettingExplained, SettingRejected | RevisionMismatch | TransactError>
  }
>()("tributary/services/Settings") {
  static readonly layer = Layer.effect(
    Settings,
    Effect.gen(function* () {
      const { onOvertaken, read, transact } = yield* Transact
      const journal = yield* Journal
      const states = new BoundedCache<ScopeKey, { readonly state: SettingsState; readonly revision: number }>(cachedScopesMax)

      onOvertaken((stream, revision) => {
        if (kindAndIdOf(stream).kind !== settings.kind) return
        const key = scopeKeyOf(stream)
        if ((states.get(key)?.revision ?? revision) < revision) states.delete(key)
      })

      /** An answer that was on its way while somebody changed the stream must not hide the change. */
      const keep = (scope: Scope, found: { readonly state: SettingsState; readonly revision: number }): SettingsState => {
        const known = states.get(scope.key)
        if (known !== undefined && known.revision > found.revision) return known.state
        states.set(scope.key, { state: found.state, revision: found.revision })
        return found.state
      }
      const stateOf = (scope: Scope): Effect.Effect<SettingsState, ReadError> => {
        const known = states.get(scope.key)
        return known === undefined ? Effect.map(read(settings, scope, "self"), (found) => keep(scope, found)) : Effect.succeed(known.state)
      }

      const chainWith = Effect.fnUntraced(function* <E>(
        scope: Scope,
        target: SettingTarget,
        stateOf: (scope: Scope) => Effect.Effect<SettingsState, E>
      ) {
        return {
          platform: yield* stateOf(platformScope),
          space: scope.level === "platform" ? noSettings : yield* stateOf(spaceScope(scope.space)),
          tenant: scope.level === "tenant" ? yield* stateOf(scope) : undefined,
          connectorId: target.connectorId,
          flowId: target.flowId
        } satisfies SettingsChain
      })
      const chain = (scope: Scope, target: SettingTarget = {}): Effect.Effect<SettingsChain, ReadError> => {
        const platform = states.get(platformScope.key)
        const space = scope.level === "platform" ? undefined : states.get(scope.space)
        const tenant = scope.level === "tenant" ? states.get(scope.key) : undefined
        return platform !== undefined && space !== undefined && (tenant !== undefined || scope.level === "space")
          ? Effect.succeed({ platform: platform.state, space: space.state, tenant: tenant?.state, ...target })
          : chainWith(scope, target, stateOf)
      }

      /** Folds the stream up to a time: "what held last Tuesday". */
      const stateAt = Effect.fnUntraced(function* (scope: Scope, at: number) {
        let state = noSettings
        for (let from = 0; ; from += historyPage) {
          const page = yield* journal.readStream(scope, streamName(scope, "settings-self"), { from, limit: historyPage })
          const until = page.filter((event) => event.at <= at)
          state = fold(
            settings,
            state,
            until.map(({ type, version, data }) => settings.events.decode(type, version, data))
          )
          if (page.length < historyPage || until.length < page.length) return state
        }
      })

      const explainAt = Effect.fn("Settings.explain")(function* (
        scope: Scope,
        key: string,
        { at, ...target }: SettingTarget & { readonly at?: number | undefined } = {}
      ) {
        if (!isSettingKey(key)) return yield* new SettingUnknown({ key, near: nearestSettingKeys(key) })
        const past = (scope: Scope): Effect.Effect<SettingsState, JournalUnavailable> => stateAt(scope, at!)
        return explain(key, at === undefined ? yield* chain(scope, target) : yield* chainWith(scope, target, past))
      })

      const change = Effect.fnUntraced(function* (
        scope: Scope,
        command: SettingsCommand,
        target: SettingTarget,
        origin: Origin,
        expecting: Expecting = {}
      ) {
        const done = yield* transact(settings, scope, "self", command, { origin, ...expecting })
        keep(scope, done)
        return explain(command.key as SettingKey, yield* chain(scope, target))
      })

      return Settings.of({
        chain,
        resolve: (scope, key, target) => Effect.map(chain(scope, target), (chain) => resolve(key, chain)),
        explain: explainAt,
        list: (scope, target) => Effect.map(chain(scope, target), (chain) => settingKeys.map((key) => explain(key, chain))),
        revisions: (scope) => {
          const space = scope.level === "platform" ? [] : [spaceScope(scope.space)]
          const scopes: ReadonlyArray<Scope> = [...(scope.level === "tenant" ? [scope] : []), ...space, platformScope]
          return Effect.forEach(scopes, (each) => Effect.map(read(settings, each, "self"), ({ revision }) => revision))
        },
        set: Effect.fn("Settings.set")(function* (scope, key, value, target, origin, expecting) {
          const at = yield* Clock.currentTimeMillis
          const fields = { ...levelOf(scope, target), key, by: actorName(origin.actor), at }
          return yield* change(scope, { _tag: "SetSetting", ...fields, value }, target, origin, expecting)
        }),
        clear: Effect.fn("Settings.clear")(function* (scope, key, target, origin, expecting) {
          const at = yield* Clock.currentTimeMillis
          const fields = { ...levelOf(scope, target), key, by: actorName(origin.actor), at }
          return yield* change(scope, { _tag: "ClearSetting", ...fields }, target, origin, expecting)
        })
      })
    })
  )
}
