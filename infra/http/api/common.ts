/** Parts that many endpoints share: path parameters, pages. */

import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"
import { ExternalTenantId } from "#domain/tenant.ts"

/** Path parameter of everything under `/tenants/:tid`. */
export const tenantParams = { tid: ExternalTenantId.annotate({ description: "The space's own id of the tenant, percent-encoded." }) }

export const limitDefault = 50
export const limitMax = 200

/** Of every list. */
export const pageQuery = {
  limit: Schema.optionalKey(
    Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: limitMax })).annotate({
      description: `Items of a page, 1 to ${limitMax}; ${limitDefault} when left out.`
    })
  ),
  cursor: Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,2048}$/u)).annotate({ description: "`next` of the page before." })
  )
}

const order = Schema.Literals(["newest", "oldest"]).annotate({
  description: "`newest` (when left out): from the latest, or greatest, on; `oldest`: the other way round."
})

/** Of every list of views: its pages and its order. `sort` names the first field of an order that the projection keeps an index for. */
export const listQuery = ({ sorts }: { readonly sorts: ReadonlyArray<ReadonlyArray<string>> }) => {
  const names = sorts.map(([first]) => first as string)
  const described = sorts.map((sort) => `\`${sort[0]}\`${sort.length === 1 ? "" : ` (then ${sort.slice(1).join(", ")})`}`).join(", ")
  return {
    ...pageQuery,
    order: Schema.optionalKey(order),
    sort: Schema.optionalKey(Schema.Literals(names).annotate({ description: `By ${described}; by ${names[0]} when left out.` }))
  }
}

const millis = Schema.FiniteFromString.check(Schema.isInt())
/** `since` inclusive, `until` exclusive, both about one field of the items. */
export const timeQuery = (field: string) => ({
  since: Schema.optionalKey(millis.annotate({ description: `\`${field}\` from this time on, epoch milliseconds.` })),
  until: Schema.optionalKey(millis.annotate({ description: `\`${field}\` before this time, epoch milliseconds.` }))
})

/** One page; `next` is null on the last one. */
export const pageOf = <Item extends Schema.Top>(item: Item) =>
  HttpApiSchema.WithHeaders(Schema.Struct({ items: Schema.Array(item), next: Schema.NullOr(Schema.String) }), {
    link: Schema.optionalKey(Schema.String.annotate({ description: "RFC 8288: the next page, `rel=next`." }))
  })
/** A list that always fits one answer. */
export const listOf = <Item extends Schema.Top>(item: Item) => Schema.Struct({ items: Schema.Array(item) })
