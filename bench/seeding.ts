/** Fills installations that are not running, in processes of their own. */
import { statSync } from "node:fs"
import { join } from "node:path"
import { launch } from "./child.ts"
import { dataFolderOf } from "./embedded.ts"
import type { Settings } from "./rounds.ts"

const seed = async (program: string, args: ReadonlyArray<string>): Promise<number> => {
  const began = performance.now()
  const seeding = launch([join(import.meta.dirname, program), ...args])
  const code = await seeding.ended
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n${seeding.output().slice(-3000)}`)
  return (performance.now() - began) / 1000
}

/** Copies of the deliveries and runs that are there until the journal has so many events; `urlsFile`: for these endpoints' tenants in turn. */
export const seedEvents = async (folder: string, events: number, tell: Settings["tell"], urlsFile?: string): Promise<void> => {
  const seconds = await seed("seed-events.ts", [folder, String(events), ...(urlsFile === undefined ? [] : [urlsFile])])
  const gigabytes = statSync(join(dataFolderOf(folder), "journal.db")).size / 1e9
  tell(`${events} events seeded in ${seconds.toFixed(0)} s; the journal has ${gigabytes.toFixed(1)} GB`)
}

/** Tenants with an endpoint and an enabled flow each; their URLs begin with `baseUrl`. */
export const seedTenants = async (
  folder: string,
  tenants: number,
  urlsFile: string,
  baseUrl: string,
  tell: Settings["tell"]
): Promise<void> => {
  const seconds = await seed("seed-tenants.ts", [folder, String(tenants), urlsFile, baseUrl])
  tell(`${tenants} tenants seeded in ${seconds.toFixed(0)} s`)
}
