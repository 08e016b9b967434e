/** Many tenants in one request: reads each by itself, and tells each one's outcome. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { bulkMax, NewTenantBody } from "../api/tenants.ts"
import { invalidAt, problemMember, RequestInvalid } from "../problems.ts"

type NewTenant = typeof NewTenantBody.Type
type Read = Result.Result<NewTenant, RequestInvalid>
type Failure = Error & { readonly _tag: string }

const decode = Schema.decodeUnknownResult(NewTenantBody, { errors: "all", onExcessProperty: "error" })
const readOne = (given: unknown): Read => Result.mapError(decode(given), ({ issue }) => invalidAt("body", issue))

const invalid = (detail: string) => new RequestInvalid({ errors: [{ in: "body", pointer: "", detail }] })
const parseLine = (line: string): Result.Result<unknown, RequestInvalid> =>
  Result.try({ try: () => JSON.parse(line) as unknown, catch: () => invalid("The line is not JSON") })

/** Each element, or each line that is not empty. */
export const readBulk = (payload: string | ReadonlyArray<Schema.Json>): Effect.Effect<ReadonlyArray<Read>, RequestInvalid> => {
  const read =
    typeof payload === "string"
      ? payload.split("\n").flatMap((line) => (line.trim() === "" ? [] : [Result.flatMap(parseLine(line), readOne)]))
      : payload.map(readOne)
  return read.length >= 1 && read.length <= bulkMax
    ? Effect.succeed(read)
    : Effect.fail(invalid(`Expected 1 to ${bulkMax} tenants, got ${read.length}`))
}

const told = (read: Read, outcome: Result.Result<unknown, Failure>) => {
  const id = Option.getOrNull(Option.map(Result.getSuccess(read), (tenant) => tenant.id as string))
  if (Result.isSuccess(outcome)) return { id, outcome: "created" as const }
  const existing = outcome.failure._tag === "TenantExists"
  return { id, outcome: existing ? ("exists" as const) : ("refused" as const), problem: problemMember(outcome.failure) }
}

/** `outcomes` are those of the elements that could be read, in order. */
export const bulkBody = (read: ReadonlyArray<Read>, outcomes: ReadonlyArray<Result.Result<unknown, Failure>>) => {
  const left = outcomes.values()
  const items = read.map((found, index) => ({
    index,
    ...told(found, Result.isFailure(found) ? found : (left.next().value as Result.Result<unknown, Failure>))
  }))
  const count = (wanted: string) => items.filter(({ outcome }) => outcome === wanted).length
  return { created: count("created"), existing: count("exists"), refused: count("refused"), items }
}
