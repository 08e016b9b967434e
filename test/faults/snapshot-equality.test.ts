/** F17 at the size of every change. */
import { atPSize } from "./at-p-size.ts"
import { snapshotEquality } from "./snapshot-equality.ts"

atPSize(snapshotEquality, "leads to the same state as the whole stream, from any cut")
