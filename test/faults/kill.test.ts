/** F1 at the size of every change. */
import { atPSize } from "./at-p-size.ts"
import { kills } from "./kills.ts"

atPSize(kills, "loses no acknowledged event and doubles no effect")
