/** F12 at the size of every change, on real processes. */
import { atPSize } from "./at-p-size.ts"
import { twoOwners } from "./two-owners.ts"

atPSize(twoOwners, "loses nothing and sends nothing twice while two workers own the same buckets")
