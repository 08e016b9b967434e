/** The simulated ports keep the contracts of the real ones: what a simulation proves holds for whatever keeps them too. */
import { busContract, leaseMillis } from "../adapters/bus.contract.ts"
import { feedContract } from "../adapters/feed.contract.ts"
import { appendBytesMax, type Installation } from "../adapters/installation.ts"
import { journalContract } from "../adapters/journal.contract.ts"
import { openWorkContract } from "../adapters/open-work.contract.ts"
import { payloadsContract } from "../adapters/payloads.contract.ts"
import { vaultContract } from "../adapters/vault.contract.ts"
import { busLayer, faithful, SharedBus } from "./bus.ts"
import { chanceFor } from "./chance.ts"
import { DurableLog } from "./durable-log.ts"
import { DurableVault } from "./durable-vault.ts"
import { openGate } from "./gate.ts"
import { storesLayer } from "./stores.ts"

const installation = (): Installation => {
  const stored = { log: new DurableLog(), vault: new DurableVault(), now: () => 0 }
  return { open: () => storesLayer(stored, openGate, appendBytesMax), remove: () => {} }
}

journalContract("simulated", installation)
openWorkContract("simulated", installation)
payloadsContract("simulated", installation)
feedContract("simulated", installation)
vaultContract("simulated", installation)
busContract("simulated", () => busLayer(new SharedBus(faithful, chanceFor(1, "bus")), openGate, { leaseMillis }))
