/** The fault scenarios by their names in the plan, each loaded when it is asked for. */
import type { Scenario } from "./scenario.ts"

export const scenarios: Readonly<Record<string, () => Promise<Scenario>>> = {
  F1: async () => (await import("./kills.ts")).kills,
  F4: async () => (await import("./power-loss/power-loss.ts")).powerLoss,
  F5: async () => (await import("./damage/damage.ts")).damage,
  F6: async () => (await import("./disk-full.ts")).diskFull,
  F7: async () => (await import("./server-faults.ts")).busLostAlone,
  F8: async () => (await import("./server-faults.ts")).documentsLostAlone,
  F9: async () => (await import("./server-faults.ts")).journalLostAlone,
  F11: async () => (await import("./server-faults.ts")).workersFrozenAlone,
  F12: async () => (await import("./two-owners.ts")).twoOwners,
  storm: async () => (await import("./server-faults.ts")).storm,
  F15: async () => (await import("./noisy-neighbour.ts")).noisyNeighbour,
  F16: async () => (await import("./mixed-versions/mixed-versions.ts")).mixedVersions,
  "F16-distributed": async () => (await import("./mixed-versions/mixed-processes.ts")).mixedProcesses,
  F17: async () => (await import("./snapshot-equality.ts")).snapshotEquality
}
