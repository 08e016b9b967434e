/** A connector ready for use: its manifest compiled once per version. */
import type { ConnectorId } from "#domain/ids.ts"
import type { Manifest } from "#domain/manifest.ts"
import { type CompiledActions, compileActions } from "./actions.ts"
import { compileHandshake, type Handshake } from "./handshake.ts"
import { compileLocators, type Locators } from "./locators.ts"
import { compileVerifier, type Verifier } from "./verification.ts"

export interface CompiledWebhook extends Locators {
  readonly verify: Verifier
  /** Names of the headers that carry signatures: they are not kept. */
  readonly signatureHeaders: ReadonlyArray<string>
  readonly handshake: Handshake | undefined
  readonly response: { readonly status: number; readonly body: string; readonly contentType: string | undefined }
}

export interface CompiledConnector {
  readonly id: ConnectorId
  /** 0: built in. */
  readonly version: number
  readonly manifest: Manifest
  readonly actions: CompiledActions
  readonly webhook: CompiledWebhook | undefined
}

export const compileConnector = (manifest: Manifest, version: number): CompiledConnector => {
  const { webhook } = manifest
  return {
    id: manifest.id,
    version,
    manifest,
    actions: compileActions(manifest),
    webhook:
      webhook === undefined
        ? undefined
        : {
            ...compileLocators(webhook),
            verify: compileVerifier(webhook),
            signatureHeaders: webhook.signature.headers,
            handshake: webhook.handshake === undefined ? undefined : compileHandshake(webhook.handshake),
            response: {
              status: webhook.response?.status ?? 200,
              body: webhook.response?.body ?? "",
              contentType: webhook.response?.contentType
            }
          }
  }
}
