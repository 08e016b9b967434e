/** F15 at the size of every change: by order, not by time. */
import { atPSize } from "./at-p-size.ts"
import { noisyNeighbour } from "./noisy-neighbour.ts"

atPSize(noisyNeighbour, "starts the others' runs ahead of its backlog")
