/** Names that survive a loss of power: a file that was flushed can still be gone when the folder that names it was not. */
import { closeSync, fsyncSync, mkdirSync, openSync } from "node:fs"
import { dirname } from "node:path"

/** Flushes the names in a folder. Not every system and not every owner lets a folder be opened: then it is left to them. */
export const flushFolder = (path: string): void => {
  let folder: number
  try {
    folder = openSync(path, "r")
  } catch {
    return
  }
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** Makes a folder, and those above it that are missing, for their owner alone. The path is absolute. */
export const makeDurableFolder = (path: string): void => {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) flushFolder(dirname(made))
}
