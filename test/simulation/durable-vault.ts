/** The secrets that outlive every process of a simulation. Seals are only marked as such: what is simulated is when they are written. */
import { createHmac } from "node:crypto"
import type { SecretRef } from "#services/ports/vault.ts"

interface StoredSecret {
  readonly version: number
  /** Null: removed; its version is never given again. */
  readonly secret: string | null
}
export type Opened = { readonly secret: string } | { readonly gone: "absent" | "stale" | "damaged" }

const keyed = (scope: string, text: string): string => createHmac("sha256", `key of ${scope}`).update(text).digest("hex")

export class DurableVault {
  #secrets = new Map<string, StoredSecret>()
  #seals = 0

  copy(): DurableVault {
    const copy = new DurableVault()
    copy.#secrets = new Map(this.#secrets)
    copy.#seals = this.#seals
    return copy
  }

  put(scope: string, { owner, field }: SecretRef, secret: string): { readonly version: number; readonly fingerprint: string } {
    const place = `${scope}\n${owner}\n${field}`
    const version = (this.#secrets.get(place)?.version ?? 0) + 1
    this.#secrets.set(place, { version, secret })
    return { version, fingerprint: keyed(scope, `secret\n${owner}\n${field}\n${secret}`).slice(0, 16) }
  }

  get(scope: string, { owner, field }: SecretRef, atLeastVersion: number): Opened {
    const found = this.#secrets.get(`${scope}\n${owner}\n${field}`)
    if (found === undefined || found.secret === null) return { gone: "absent" }
    return found.version < atLeastVersion ? { gone: "stale" } : { secret: found.secret }
  }

  remove(scope: string, { owner, field }: SecretRef): void {
    const place = `${scope}\n${owner}\n${field}`
    const found = this.#secrets.get(place)
    if (found !== undefined) this.#secrets.set(place, { ...found, secret: null })
  }

  nameDigest(scope: string, kind: string, text: string): string {
    return keyed(scope, `name\n${kind}\n${text}`).slice(0, 32)
  }

  sealField(scope: string, field: string, text: string): string {
    const sealed = Buffer.from(JSON.stringify([++this.#seals, text])).toString("base64url")
    return `1.${sealed}.${keyed(scope, `${field}\n${sealed}`)}`
  }

  openField(scope: string, field: string, text: string): Opened {
    const [, sealed, seal] = text.split(".")
    if (sealed === undefined || seal === undefined || seal !== keyed(scope, `${field}\n${sealed}`)) return { gone: "damaged" }
    const [, plain] = JSON.parse(Buffer.from(sealed, "base64url").toString()) as [number, string]
    return { secret: plain }
  }
}
