/** F7, F8, F9 and F11 at the size of every change, over one installation. */
import { atPSize } from "./at-p-size.ts"
import { storm } from "./server-faults.ts"

atPSize(storm, "loses no acknowledged event and doubles no effect, whichever server or worker fails")
