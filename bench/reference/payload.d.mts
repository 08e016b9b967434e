/** Types of `payload.mjs`, which is a copy and stays as it is. */
export declare const SECRET: string
export interface SignedBody {
  readonly body: Buffer
  /** Base64 of its HMAC-SHA256. */
  readonly hmac: string
}
export declare const order: (index: number) => Record<string, unknown>
export declare const pool: (size?: number) => ReadonlyArray<SignedBody>
/** Eight hex digits: keeps the delivery ids of one run of a generator apart from another's. */
export declare const runTag: () => string
/** Milliseconds of the machine's monotonic clock, the same in every process. */
export declare const monoMs: () => number
export declare class Hist {
  add(value: number): void
  summary(): { n: number; p50: number; p95: number; p99: number; max: number }
}
