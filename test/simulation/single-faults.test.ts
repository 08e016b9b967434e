/** F2, with every change. */
import { atPSize } from "../faults/at-p-size.ts"
import { singleFaults } from "./single-faults.ts"

atPSize(singleFaults, "ends in order whichever single I/O fails in whichever way")
