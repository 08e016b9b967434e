#!/usr/bin/env node
/**
 * What `tributary` starts: plain JavaScript, so that any Node from 20 on can read it. It hands over to the Node that the packages
 * bring where this one is too old, and keeps compiled code from one start to the next. Stripping the types of a `.ts` file anew
 * would cost each thread 16 MiB and 30 ms: so the entry is none, and threads inherit the cache by the environment.
 */
import { spawn } from "node:child_process"
import * as nodeModule from "node:module"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"

const packages = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "..", "node_modules")

/**
 * As `npm start` has them. V8 would let its young generation grow to 128 MiB and the old one to a multiple of what lives in it: these bounds
 * save a good quarter of the memory under load, and cost a few per cent of the time. And V8 would learn from the first seconds to allocate parts of each request
 * as old objects, in one process out of two: all that they refer to then outlives the young collections, which costs a fifth of the time. Its memory
 * reducer would take along compiled code in each rest of some seconds; `tidy.ts` gives the memory back instead.
 */
const flags = ["--max-semi-space-size=16", "--heap-growing-percent=55", "--no-allocation-site-pretenuring", "--no-memory-reducer"]
/** glibc would give each thread an arena of its own, and keep what is freed in them and in the heap: some 30 MiB. */
const environment = { MALLOC_ARENA_MAX: "2", MALLOC_TRIM_THRESHOLD_: "131072", ...process.env }

const handOver = () => {
  const child = spawn(join(packages, "node", "bin", "node"), [...flags, ...process.argv.slice(1)], { stdio: "inherit", env: environment })
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal))
  child.on("error", (cause) => {
    console.error(`Tributary needs Node 24, and ${packages} holds none (${cause.message}). Nothing was started. Run: npm ci`)
    process.exit(1)
  })
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" || signal === "SIGTERM" ? 0 : 1)))
}

if (Number(process.versions.node.split(".")[0]) < 24) handOver()
else {
  // Beside the installed packages, where nobody else can write; where that is read-only, Node works without.
  const cache = join(packages, ".cache", "tributary")
  nodeModule.enableCompileCache(cache)
  process.env.NODE_COMPILE_CACHE ??= cache
  // For this thread it counts already; of the others, each has a bound of its own, which it would override.
  setFlagsFromString("--max-semi-space-size=0")
  await import("./main.ts")
}
