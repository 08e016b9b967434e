/** Parts of the platform inside the bench's own process, on the folder of a platform that is not running. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import * as masterKey from "#adapters/node/master-key.ts"

/** Where `startPlatform` keeps a folder's data and key. */
export const dataFolderOf = (folder: string): string => join(folder, "data")
export const masterKeyFileOf = (folder: string): string => join(folder, "master.key")

export const masterKeyIn = (folder: string) => {
  mkdirSync(dataFolderOf(folder), { recursive: true })
  return masterKey.layer({ dataFolder: dataFolderOf(folder), file: masterKeyFileOf(folder) })
}
