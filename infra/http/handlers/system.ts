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
import { Installation } from "../../installation.ts"
import { version } from "../../version.ts"
import { Api } from "../api/api.ts"

/** The data folder's files and what is free beside them, in bytes; a file that goes meanwhile counts nothing. */
const diskOf = (folder: string) =>
  Effect.promise(async () => {
    const { bavail, blocks, bsize } = statfsSync(folder)
    let usedBytes = 0
    for (const name of await readdir(folder)) usedBytes += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0
    return { usedBytes, freeBytes: bavail * bsize, totalBytes: blocks * bsize }
  })

export const layer = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const { dataFolder, form } = yield* Installation
    const { role } = yield* Process
    const { journalId } = yield* Journal
    const feed = yield* Feed
    const startedAt = yield* Clock.currentTimeMillis
    return handlers.handle("info", () =>
      Effect.gen(function* () {
        const disk = dataFolder === null ? null : yield* diskOf(dataFolder)
        const head = yield* feed.head
        return { version, node: process.version, form, role, journalId, head, dataFolder, disk, startedAt }
      })
    )
  })
)
