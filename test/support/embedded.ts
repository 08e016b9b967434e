/** The embedded stores on a folder of their own, which goes with the scope; time stands still until a test moves it. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Entropy from "#adapters/node/entropy.ts"
import { masterKeyId } from "#adapters/node/master-key.ts"
import * as SqliteJournal from "#adapters/sqlite/journal.ts"
import { MasterKey } from "#services/ports/master-key.ts"
import { Transact } from "#services/transact.ts"

const key = new Uint8Array(32).fill(7)
const masterKey = Layer.succeed(MasterKey, MasterKey.of({ id: masterKeyId(key), key: Redacted.make(key), where: "test" }))

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tributary-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Journal, feed, open work, payloads, vault, entropy and `Transact` over them. */
export const embedded = Layer.unwrap(
  Effect.map(folder, (path) =>
    Transact.layer.pipe(
      Layer.provideMerge(
        SqliteJournal.layer({ journalFile: join(path, "journal.db"), vaultFile: join(path, "vault.db"), eventTypes: {} }).pipe(
          Layer.provide(masterKey)
        )
      ),
      Layer.provideMerge(Entropy.layer),
      Layer.provideMerge(TestClock.layer())
    )
  )
)
