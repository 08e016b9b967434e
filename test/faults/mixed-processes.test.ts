/** F16 at the size of every change, for the distributed form. */
import { atPSize } from "./at-p-size.ts"
import { mixedProcesses } from "./mixed-versions/mixed-processes.ts"

atPSize(mixedProcesses, "leaves to the newer release what only that can read, and loses nothing")
