/** The bench's own temporary folder: all data of all rounds lies below it, and it is removed at the end. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

let root: string | undefined
let folders = 0

process.on("exit", () => {
  if (root !== undefined) rmSync(root, { recursive: true, force: true })
})

/** A new empty folder. */
export const newFolder = (): string => {
  root ??= mkdtempSync(join(tmpdir(), "tributary-bench-"))
  return mkdtempSync(join(root, `${folders++}-`))
}

export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true })
