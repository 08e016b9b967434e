/** The frame of every command: finds the server, hands it to the handler, and says what went wrong. */
import * as Console from "effect/Console"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { type Client, makeClient } from "./client.ts"
import { type CommandFailed, describe, Told } from "./failure.ts"
import { findServer, type Reach, reach } from "./installation.ts"
import { styled } from "./output.ts"

/** Says a failure on standard error and ends with code 1. */
export const told =
  (asJson: boolean) =>
  <A, R>(effect: Effect.Effect<A, CommandFailed, R>): Effect.Effect<A, Told, R> =>
    Effect.catch(effect, (failure) => {
      const text = asJson ? JSON.stringify(failure.problem) : describe(failure).replace(/^.*$/mu, (title) => styled("red", title))
      return Effect.andThen(Console.error(text), Effect.fail(new Told()))
    })

/** A command that works on a server: its own flags and arguments besides those by which the server is found. */
export const serverCommand = <const Name extends string, const Config extends Command.Command.Config>(
  name: Name,
  description: string,
  config: Config,
  handler: (client: Client, input: Command.Command.Config.Infer<Config> & Reach) => Effect.Effect<void, CommandFailed>
) =>
  Command.make(name, { ...config, ...reach }, (input) => {
    const given = input as unknown as Command.Command.Config.Infer<Config> & Reach
    return told(given.json)(Effect.flatMap(findServer(given), (server) => handler(makeClient(server), given)))
  }).pipe(Command.withDescription(description))

/** Flag of the commands below a tenant. */
export const tenant = Flag.String("tenant").pipe(Flag.withAlias("t"), Flag.withDescription("The tenant, by your own id of it"))
export const optionalTenant = tenant.pipe(Flag.optional)

export const limit = Flag.Int("limit").pipe(Flag.withAlias("n"), Flag.withDescription("At most so many"), Flag.withDefault(50))
export const text = (name: string, description: string) => Argument.String(name).pipe(Argument.withDescription(description))

export const tenantPath = (tenantId: string, rest: string): string => `/api/v1/tenants/${encodeURIComponent(tenantId)}${rest}`

export interface Page<Item> {
  readonly items: ReadonlyArray<Item>
  /** Cursor of the next page; null after the last. */
  readonly next: string | null
}

type Query = Readonly<Record<string, string | number | undefined>>
const pageMax = 200

/** The first `count` items, over as many pages as it takes. */
export const pages = <Item>(client: Client, path: string, query: Query, count: number): Effect.Effect<Page<Item>, CommandFailed> => {
  const more = (found: ReadonlyArray<Item>, cursor: string | undefined): Effect.Effect<Page<Item>, CommandFailed> =>
    Effect.flatMap(
      client.ask<Page<Item>>(path, { query: { ...query, limit: Math.max(1, Math.min(pageMax, count - found.length)), cursor } }),
      ({ items, next }) => {
        const all = [...found, ...items]
        return next === null || all.length >= count ? Effect.succeed({ items: all, next }) : more(all, next)
      }
    )
  return more([], undefined)
}

/** Says that there is more than was shown. */
export const moreNote = ({ next }: Page<unknown>): string => (next === null ? "" : `\n${styled("dim", "There are more: raise --limit.")}`)

export const orUndefined = <A>(option: Option.Option<A>): A | undefined => (option._tag === "Some" ? option.value : undefined)
