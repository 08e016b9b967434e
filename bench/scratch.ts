/** The bench's own temporary folders: all data of all rounds lies below them, and they are removed at the end. */
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Held in memory by Linux. */
const volatileParent = "/dev/shm"
const roots = new Map<string, string>()
let folders = 0

process.on("exit", () => {
  for (const root of roots.values()) rmSync(root, { recursive: true, force: true })
})

const rootIn = (parent: string): string => {
  const root = roots.get(parent) ?? mkdtempSync(join(parent, "tributary-bench-"))
  roots.set(parent, root)
  return root
}

/** A new empty folder; a volatile one lies in memory where the machine can: for seeds that are copied away, never for a measurement. */
export const newFolder = ({ volatile = false } = {}): string =>
  mkdtempSync(join(rootIn(volatile && existsSync(volatileParent) ? volatileParent : tmpdir()), `${folders++}-`))

export const removeFolder = (folder: string): void => rmSync(folder, { recursive: true, force: true })
