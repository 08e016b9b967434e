/** What the demo and its two vendor apps, each a process of its own, say to each other, and what they report. */

/** A tenant's shop, as the vendor knows it. */
export interface Shop {
  readonly tenant: string
  /** Shopify's name of it: `<name>.myshopify.com`. */
  readonly name: string
  /** Where its webhooks go. */
  readonly url: string
  readonly secret: string
}

export type ToShop = {
  readonly is: "sell"
  readonly shops: ReadonlyArray<Shop>
  readonly orders: number
  readonly perSecond: number
  readonly duplicates: number
}

export interface SentOrder {
  readonly tenant: string
  readonly orderId: number
  /** `X-Shopify-Webhook-Id`: the same for every try and every duplicate. */
  readonly webhookId: string
  readonly bytes: number
  /** Calls until it was acknowledged. */
  readonly tries: number
  /** Status of the acknowledgement; null: it never came. */
  readonly status: number | null
}
export interface ShopReport {
  readonly orders: ReadonlyArray<SentOrder>
  /** Sent once more, with the same id, after they were acknowledged; and how they were answered. */
  readonly duplicates: ReadonlyArray<{ readonly webhookId: string; readonly status: number | null }>
  /** A call with somebody else's signature. */
  readonly forged: { readonly status: number | null; readonly said: string }
}
export type FromShop =
  | { readonly is: "ready" }
  | { readonly is: "acknowledged"; readonly count: number }
  | ({ readonly is: "sold" } & ShopReport)

export type ToErp = { readonly is: "open"; readonly ledger: string; readonly credentials: Readonly<Record<string, string>> }
export type FromErp =
  | { readonly is: "ready" }
  | { readonly is: "open"; readonly port: number }
  | { readonly is: "in hand"; readonly count: number }

/** A line of the ERP's own ledger, on disk before the answer is sent. */
export type LedgerEntry =
  | {
      readonly kind: "booked"
      readonly key: string
      readonly tenant: string
      readonly order: string
      readonly bodyHash: string
      readonly at: number
    }
  /** The same key again: answered as before, booked once. */
  | { readonly kind: "repeated"; readonly key: string; readonly tenant: string; readonly at: number }
  | { readonly kind: "busy"; readonly key: string; readonly tenant: string; readonly status: 429 | 503; readonly at: number }
  /** A key that was used for another body, or no credential: never to be seen. */
  | { readonly kind: "refused"; readonly key: string | null; readonly status: 400 | 401 | 422; readonly at: number }
  /** The caller was gone before its answer. */
  | { readonly kind: "unheard"; readonly key: string; readonly at: number }
