/** What a process wrote and flushed, in order, as `record-writes.c` wrote it down. Needs Linux and a C compiler. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Inodes name files; numbers of entries (`before`) count from 0. */
export type Entry = { readonly at: bigint } & (
  | { readonly op: "create"; readonly inode: string; readonly path: string }
  | { readonly op: "folder"; readonly inode: string; readonly path: string }
  | { readonly op: "write"; readonly inode: string; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly op: "truncate"; readonly inode: string; readonly size: number }
  | { readonly op: "sync" | "syncfolder"; readonly inode: string; readonly before: number }
  | { readonly op: "unlink" | "mkdir" | "rename" | "to"; readonly path: string }
)

/** The entries; `at` is on the clock of `process.hrtime`. */
export const readRecording = (file: string): ReadonlyArray<Entry> => {
  const log = readFileSync(file)
  const entries: Array<Entry> = []
  for (let start = 0; start < log.length; ) {
    const end = log.indexOf(10, start)
    const [op, nanos, inode, a, b, ...rest] = log.toString("utf8", start, end).split(" ")
    const at = BigInt(nanos!)
    start = end + 1
    if (op === "write") {
      entries.push({ at, op, inode: inode!, offset: Number(a), bytes: log.subarray(start, start + Number(b)) })
      start += Number(b)
    } else if (op === "truncate") entries.push({ at, op, inode: inode!, size: Number(a) })
    else if (op === "sync" || op === "syncfolder") entries.push({ at, op, inode: inode!, before: Number(a) })
    else entries.push({ at, op, inode: inode!, path: rest.join(" ") } as Entry)
  }
  return entries
}

/** The variables under which a process is recorded, or why this machine cannot. */
export const recorder = (
  folder: string,
  log: string
): { readonly env: Readonly<Record<string, string>> } | { readonly skipped: string } => {
  if (process.platform !== "linux") return { skipped: "writes are recorded on Linux alone" }
  const library = join(mkdtempSync(join(tmpdir(), "tributary-recorder-")), "record-writes.so")
  const source = new URL("./record-writes.c", import.meta.url).pathname
  const built = spawnSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl", "-lpthread"], { encoding: "utf8" })
  if (built.error !== undefined || !existsSync(library))
    return { skipped: `no C compiler: ${built.error?.message ?? built.stderr.split("\n", 1)[0]} (Debian: apt-get install gcc libc6-dev)` }
  return { env: { LD_PRELOAD: library, RECORD_FOLDER: folder, RECORD_LOG: log } }
}
