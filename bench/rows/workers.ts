/**
 * Rows `workers.1`, `workers.2` and `workers.4`: runs a second against an app that answers after 500 ms, in one API process and so many workers;
 * the reference of the larger ones is one worker's figure times their number.
 */

import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { pause } from "../child.ts"
import { addTenant, type Platform, prepareSpace, runningFlow, startPlatform } from "../platform.ts"
import { loadMany, startSlowSink } from "../raw.ts"
import type { Settings } from "../rounds.ts"
import { type Measured, ratioAtLeast } from "../row.ts"
import { newFolder, removeFolder } from "../scratch.ts"
import { startServers } from "../servers.ts"

const answerMillis = 500
const tenants = 32
/** Each worker's limit, 50 runs a second: a worker waits and does not compute, since all processes and servers share the machine's cores. */
const inFlightPerWorker = 25
/** What is waiting when the count begins, for each worker. */
const backlogPerWorker = 800
const fillPerSecond = 300

const succeeded = async (workers: ReadonlyArray<Platform>): Promise<number> => {
  const counts = await Promise.all(workers.map((worker) => worker.metric(`runs_total{outcome="succeeded"}`)))
  return counts.reduce((sum, count) => sum + count, 0)
}

const runsPerSecond = async (count: number, seconds: number): Promise<number> => {
  const folder = newFolder()
  const [servers, sink] = [await startServers(folder), await startSlowSink(answerMillis)]
  const api = await startPlatform({ folder, environment: { ...servers.environment, TRIBUTARY_ROLE: "api" } })
  await prepareSpace(api)
  const urls: Array<string> = []
  for (let tenant = 0; tenant < tenants; tenant++) {
    urls.push(await addTenant(api, { id: `tenant-${tenant}`, flow: runningFlow, sinkUrl: sink.url }))
  }
  const urlsFile = join(folder, "urls")
  writeFileSync(urlsFile, urls.join("\n"))
  const workers: Array<Platform> = []
  const environment = { ...servers.environment, TRIBUTARY_ROLE: "worker", TRIBUTARY_RUNS_IN_FLIGHT: String(inFlightPerWorker) }
  for (let worker = 0; worker < count; worker++) workers.push(await startPlatform({ folder, key: api.key, environment }))
  await loadMany(urlsFile, { seconds: (backlogPerWorker * count) / fillPerSecond, conns: 16, rate: fillPerSecond })
  const before = await succeeded(workers)
  await pause(seconds * 1_000)
  const rate = ((await succeeded(workers)) - before) / seconds
  await Promise.all([...workers.map(({ child }) => child.stop()), api.child.stop(), sink.child.stop()])
  await servers.stop()
  removeFolder(folder)
  return rate
}

export const workers = async (settings: Settings): Promise<ReadonlyArray<Measured>> => {
  const seconds = settings.quick ? 4 : 10
  const one = await runsPerSecond(1, seconds)
  settings.tell(`workers: one worker ran ${Math.round(one)} a second`)
  const rows: Array<Measured> = [{ name: "workers.1", value: one, unit: "runs/s", reference: null, targets: [] }]
  for (const count of [2, 4]) {
    const value = await runsPerSecond(count, seconds)
    rows.push({ name: `workers.${count}`, value, unit: "runs/s", reference: one * count, targets: [ratioAtLeast(0.9)] })
  }
  return rows
}
