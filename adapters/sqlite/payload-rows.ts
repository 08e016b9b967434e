/** Where an append's contents lie: their rows follow from the position of its first event, so that no index is needed. */

/** Contents that one append may carry. */
export const contentsPerAppendMax = 1024

export const payloadId = (position: number, index: number): number => position * contentsPerAppendMax + index

/** What the event's row keeps of its contents, in the order of their rows: slots and keyed hashes. */
export const contentEntry = (slot: string, hash: string): string => `${slot}=${hash}`

/** Index and keyed hash of a slot in an event's `contents`, or null when it is not there. */
export const findContent = (contents: string, slot: string): { readonly index: number; readonly hash: string } | null => {
  const entries = contents.split(",")
  const index = entries.findIndex((entry) => entry.startsWith(`${slot}=`))
  return index === -1 ? null : { index, hash: entries[index]!.slice(slot.length + 1) }
}
