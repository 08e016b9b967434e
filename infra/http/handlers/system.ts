/** Answers about what runs here. */
import { statfsSync, statSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Feed } from "#services/ports/feed.ts"
import { Journal } from "#services/ports/journal.ts"
import { Process } from "../../config.ts"
import { version } from "../../version.ts"
import { Api } from "../api/api.ts"

/** Bytes of the data folder's files; one that goes meanwhile counts nothing. */
const usedBytes = (folder: string) =>
  Effect.promise(async () => {
    let bytes = 0
    for (const name of await readdir(folder)) bytes += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0
    return bytes
  })

export const layer = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const { dataFolder } = yield* Process
    const { journalId } = yield* Journal
    const feed = yield* Feed
    const startedAt = yield* Clock.currentTimeMillis
    return handlers.handle("info", () =>
      Effect.gen(function* () {
        const { bavail, blocks, bsize } = statfsSync(dataFolder)
        const disk = { usedBytes: yield* usedBytes(dataFolder), freeBytes: bavail * bsize, totalBytes: blocks * bsize }
        const head = yield* feed.head
        return { version, node: process.version, journalId, head, dataFolder, disk, startedAt }
      })
    )
  })
)
