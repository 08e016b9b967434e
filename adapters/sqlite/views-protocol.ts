/** What the main thread and the views' thread say to each other. */
import { QueryRefused } from "#services/ports/read-models.ts"
import { ReadModelsUnavailable } from "#services/ports/unavailable.ts"
import { ProjectionUnknown, type ViewFailure, ViewsBehind, ViewsBuilding } from "#services/ports/view-server.ts"

export interface ViewsThreadOptions {
  readonly journalFile: string
  readonly viewsFile: string
  readonly journalId: string
}

/** A method of the `ViewServer` and its arguments. */
export type Question = "get" | "find" | "projections" | "rebuild"
export type ToViews =
  | { readonly is: "ask"; readonly id: number; readonly question: Question; readonly args: ReadonlyArray<unknown> }
  | { readonly is: "news" }
  | { readonly is: "close" }
export type FromViews =
  | { readonly is: "ready" }
  | { readonly is: "answer"; readonly id: number; readonly value: unknown }
  | { readonly is: "failure"; readonly id: number; readonly failure: SentFailure }

/** A failure's fields; class and cause stay behind when it is posted. */
export type SentFailure = Readonly<Record<string, unknown>> & { readonly _tag: string }

const failures = { ProjectionUnknown, ViewsBuilding, ViewsBehind, QueryRefused, ReadModelsUnavailable }

export const sendFailure = (failure: ViewFailure): SentFailure => {
  const { cause: _, ...fields } = { ...failure } as SentFailure
  return fields as SentFailure
}

export const receiveFailure = ({ _tag, ...fields }: SentFailure): ViewFailure => {
  const Failure = failures[_tag as keyof typeof failures] as unknown as new (fields: object) => ViewFailure
  return new Failure(fields)
}
