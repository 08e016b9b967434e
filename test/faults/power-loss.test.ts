/** F4 at the size of every change. */
import { atPSize } from "./at-p-size.ts"
import { powerLoss } from "./power-loss/power-loss.ts"

atPSize(powerLoss, "keeps every acknowledged append, and journal and vault in step")
