/** Row `memory.idle`: resident memory of a platform that has started, served a little and now waits. (`memory.busy` is taken while runs are measured.) */
import { pause } from "../child.ts"
import { addTenant, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { load, startSink } from "../raw.ts"
import { inRounds, type Settings } from "../rounds.ts"
import { atMost, type Measured, median } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"

const mebibyte = 1024 * 1024
const waitMillis = 3_000

export const memory = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const sink = await startSink()
  const rounds = await inRounds("memory", settings, async () => {
    const folder = newFolder()
    const platform = await startPlatform({ folder })
    await prepareSpace(platform)
    const url = await addTenant(platform, { id: "memory", flow: runningFlow, sinkUrl: sink.url })
    await load(url, { seconds: 1, conns: 1, rate: 20 })
    await pause(waitMillis)
    const resident = platform.child.residentBytes()
    await platform.child.stop()
    removeFolder(folder)
    return resident
  })
  await sink.child.stop()
  return [{ name: "memory.idle", value: median(rounds) / mebibyte, unit: "MiB", reference: null, targets: [atMost(160)] }]
}
