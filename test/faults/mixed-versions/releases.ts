/** Other releases' code, out of the repository, beside today's dependencies. */
import { spawnSync } from "node:child_process"
import { mkdirSync, symlinkSync } from "node:fs"
import { join } from "node:path"

const repository = new URL("../../../", import.meta.url).pathname
const git = (...args: ReadonlyArray<string>): string | undefined => {
  const { status, stdout } = spawnSync("git", ["-C", repository, ...args], { encoding: "utf8" })
  return status === 0 ? stdout.trim() : undefined
}

/** The latest tag before this commit, or else the commit before it; undefined where there is no history. */
export const previousRelease = (): string | undefined =>
  process.env["FAULT_PREVIOUS"] ?? git("describe", "--tags", "--abbrev=0", "HEAD~1") ?? git("rev-parse", "--short", "HEAD~1")

/** Puts a release's code into a folder; resolves with its main program. */
export const unpackRelease = (reference: string, folder: string): string => {
  mkdirSync(folder, { recursive: true })
  const unpack = `git -C "$0" archive "$1" | tar -x -C "$2"`
  const { status, stderr } = spawnSync("bash", ["-o", "pipefail", "-c", unpack, repository, reference, folder], { encoding: "utf8" })
  if (status !== 0) throw new Error(`The code of ${reference} could not be unpacked: ${stderr}`)
  symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"))
  return join(folder, "infra/main.ts")
}
