/** F16 at the size of every change, for the embedded form. */
import { atPSize } from "./at-p-size.ts"
import { mixedVersions } from "./mixed-versions/mixed-versions.ts"

atPSize(mixedVersions, "reads what was written before, refuses what comes later, and loses nothing in between")
