/**
 * Starts the views' thread with the compiled code of an earlier start: without it a thread loads the compiler that takes types
 * out, which costs it 25 MB and a quarter of a second. Plain JavaScript, so that this file needs no compiler either.
 */
import { enableCompileCache } from "node:module"
import { join } from "node:path"

enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "tributary"))
await import("./views-thread.ts")
