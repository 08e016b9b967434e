/** F6 at the size of every change. */
import { atPSize } from "./at-p-size.ts"
import { diskFull } from "./disk-full.ts"

atPSize(diskFull, "refuses with 503 and Retry-After, loses nothing, and goes on without a restart")
