/** Problem details (RFC 9457): how each refusal, and each failure to serve, looks on the wire. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { HttpApiSchemaError } from "effect/http-api/HttpApiError"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

export const problemContentType = "application/problem+json"

/** `TenantNotFound` → `/problems/tenant-not-found`, which this server explains. */
export const problemType = (tag: string): string => `/problems/${tag.replace(/([a-z0-9])([A-Z])/gu, "$1-$2").toLowerCase()}`

export interface ProblemBody {
  readonly type: string
  readonly title: string
  readonly status: number
  /** What happened, what was lost and what to do, for a person. */
  readonly detail: string
  /** The path that was asked for. */
  readonly instance?: string
}

const standard = { type: Schema.String, title: Schema.String, status: Schema.Int, detail: Schema.String }
const instanceField = { instance: Schema.optionalKey(Schema.String) }

const pathOf = (url: string): string => url.split("?", 1)[0] as string
const instanceOfRequest = Effect.contextWith((context: Context.Context<never>) => {
  const request = Context.getOrUndefined(context, HttpServerRequest.HttpServerRequest)
  return Effect.succeed(request === undefined ? {} : { instance: pathOf(request.url) })
})

const annotationsOf = (status: number, title: string) => ({
  httpApiStatus: status,
  description: title,
  "~httpApiEncoding": { _tag: "Json", contentType: problemContentType }
})

/** One kind of problem as it is declared, for its explanation. */
export interface DeclaredProblem {
  readonly type: string
  /** More than one where operations say it differently. */
  readonly titles: ReadonlyArray<string>
  readonly status: number
  /** Members besides the standard ones. */
  readonly members: ReadonlyArray<string>
}
const declared = new Map<string, DeclaredProblem>()
const declare = (type: string, status: number, title: string, members: ReadonlyArray<string>) => {
  const titles = declared.get(type)?.titles ?? []
  declared.set(type, { type, titles: titles.includes(title) ? titles : [...titles, title], status, members })
}
/** All that the API declares, once its modules are loaded. */
export const declaredProblems = (): ReadonlyArray<DeclaredProblem> => [...declared.values()]

interface RejectionClass<Self> extends Schema.Top {
  readonly Type: Self
  readonly identifier: string
  readonly fields: Schema.Struct.Fields
  // biome-ignore lint/suspicious/noExplicitAny: each rejection takes its own fields.
  new (fields: any): unknown
}

/**
 * The error schema of one rejection: on the wire a problem whose `detail` is the rejection's message and whose extra members are
 * its fields; in a handler and in a derived client the rejection itself.
 */
export const problem = <Self extends Error>(
  rejection: RejectionClass<Self>,
  status: number,
  title: string
): Schema.Codec<Self, ProblemBody> => {
  const { _tag: _, ...fields } = rejection.fields
  const type = problemType(rejection.identifier)
  const body = Schema.Struct({ ...fields, ...standard, type: Schema.Literal(type), ...instanceField })
  const names = Object.keys(fields)
  declare(type, status, title, names)
  return body
    .pipe(
      Schema.decodeTo(
        Schema.toType(rejection) as unknown as Schema.Codec<Self>,
        SchemaTransformation.transformEffect({
          decode: (found) => Effect.succeed(new rejection(found) as Self),
          encode: (found) =>
            Effect.map(instanceOfRequest, (instance) => {
              const members = found as unknown as Record<string, unknown>
              const extra = Object.fromEntries(names.filter((name) => members[name] !== undefined).map((name) => [name, members[name]]))
              return { ...extra, type, title, status, detail: found.message, ...instance } as unknown as typeof body.Type
            })
        })
      )
    )
    .annotate(annotationsOf(status, title)) as unknown as Schema.Codec<Self, ProblemBody>
}

/** The same for an error that never leaves the process as such: only its message is shown. */
export const problemOf = <Self extends Error>(
  constructor: abstract new (...given: never) => Self,
  status: number,
  title: string
): Schema.Codec<Self, ProblemBody> => {
  const type = problemType(constructor.name)
  const body = Schema.Struct({ ...standard, type: Schema.Literal(type), ...instanceField })
  declare(type, status, title, [])
  return body
    .pipe(
      Schema.decodeTo(
        Schema.declare((found): found is Self => found instanceof constructor),
        SchemaTransformation.transformEffect({
          decode: (found) => Effect.succeed(Object.assign(Object.create(constructor.prototype) as Self, { message: found.detail })),
          encode: (found) => Effect.map(instanceOfRequest, (instance) => ({ type, title, status, detail: found.message, ...instance }))
        })
      )
    )
    .annotate({ ...annotationsOf(status, title), identifier: `${constructor.name}Problem` }) as unknown as Schema.Codec<Self, ProblemBody>
}

/** The request could not be understood: every place that is wrong, not only the first. */
export class RequestInvalid extends Schema.TaggedError<RequestInvalid>()("RequestInvalid", {
  errors: Schema.Array(
    Schema.Struct({
      in: Schema.Literals(["path", "query", "header", "body"]),
      /** JSON Pointer (RFC 6901) within it; empty for the whole. */
      pointer: Schema.String,
      detail: Schema.String
    })
  )
}) {
  override get message() {
    const [first] = this.errors
    const where = first === undefined ? "" : ` First: ${first.in}${first.pointer === "" ? "" : ` ${first.pointer}`}: ${first.detail}.`
    return `The request has ${this.errors.length === 1 ? "a value" : `${this.errors.length} values`} that cannot be used.${where} Nothing was changed. Correct it and send it again.`
  }
}

/** The problem of one part of an answer that tells about several. */
export const ProblemMember = Schema.Struct({ ...standard, errors: Schema.optionalKey(RequestInvalid.fields.errors) }).annotate({
  identifier: "ProblemMember"
})
/** A declared error as such a member; what is not declared is a defect. */
export const problemMember = (error: Error & { readonly _tag: string }): typeof ProblemMember.Type => {
  const type = problemType(error._tag)
  const { titles, status } = declared.get(type) as DeclaredProblem
  return {
    type,
    title: titles[0] as string,
    status,
    detail: error.message,
    ...(error instanceof RequestInvalid ? { errors: error.errors } : {})
  }
}

const places = { Params: "path", Query: "query", Headers: "header", Payload: "body" } as const
/** Places that are named in one answer. */
const issuesMax = 100
const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()
/** JSON Pointer of a path. */
export const pointerOf = (path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> = []): string =>
  path
    .map(
      (part) =>
        `/${String(typeof part === "object" ? part.key : part)
          .replaceAll("~", "~0")
          .replaceAll("/", "~1")}`
    )
    .join("")

/** Request errors as our rejection; undefined when it was our own answer that did not fit its schema, which is a defect. */
export const requestInvalid = (error: HttpApiSchemaError): RequestInvalid | undefined => {
  if (error.kind === "Body" || error.kind === "ResponseHeaders") return undefined
  return invalidAt(places[error.kind], error.cause.issue)
}

/** What a schema has against a value. */
export const invalidAt = (place: (typeof places)[keyof typeof places], issue: SchemaIssue.Issue): RequestInvalid =>
  new RequestInvalid({
    errors: formatIssue(issue)
      .issues.slice(0, issuesMax)
      .map(({ path, message }) => ({ in: place, pointer: pointerOf(path), detail: message }))
  })

/** A problem outside any endpoint: nothing there, wrong method, too large, our own failure. */
export const problemResponse = (
  body: Omit<ProblemBody, "type"> & { readonly type?: string } & Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(JSON.stringify({ type: "about:blank", ...body }), {
    status: body.status,
    contentType: problemContentType,
    headers
  })
