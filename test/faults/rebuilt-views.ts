/** Compares views as they came about, over whatever happened, with the same ones made anew from the log. */
import { isDeepStrictEqual } from "node:util"
import { eventually } from "./orders-platform.ts"
import type { PlatformProcess } from "./platform-process.ts"

/** Those of the load; the lists that show them. */
const rebuilt = ["runs", "deliveries", "usage"]
const lists = ["executions", "events"]
const rebuildMillisMax = 30_000
/** Until somebody has taken over what a runner left that died or stopped, and found that it no longer runs what others took over. */
const levelMillisMax = 30_000

interface Page {
  readonly items: ReadonlyArray<{ readonly id: string }>
  readonly next: string | null
}
interface Projection {
  readonly name: string
  readonly serving: { readonly model: string; readonly position: string | null } | null
  readonly building: unknown
  readonly head: string | null
}
type Views = ReadonlyMap<string, unknown>

const viewsOf = async (api: PlatformProcess, tenants: ReadonlyArray<string>): Promise<Views> => {
  const views = new Map<string, unknown>()
  for (const tenant of tenants) {
    for (const list of lists)
      for (let cursor: string | null = ""; cursor !== null; ) {
        const query: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`
        const page: Page = await api.api("GET", `/tenants/${tenant}/${list}?limit=200${query}`)
        for (const item of page.items) views.set(`${tenant}/${list}/${item.id}`, item)
        cursor = page.next
      }
    // The view: what stands in the window of now would differ from one minute to the next.
    views.set(`${tenant}/usage`, await api.api("GET", `/tenants/${tenant}/usage/windows`))
  }
  return views
}

const projectionsOf = async (api: PlatformProcess): Promise<ReadonlyArray<Projection>> =>
  (await api.api<{ readonly items: ReadonlyArray<Projection> }>("GET", "/projections")).items.filter(({ name }) => rebuilt.includes(name))

/** Nothing more may be going on, but for the views themselves. */
export const differencesAfterRebuild = async (
  api: PlatformProcess,
  tenants: ReadonlyArray<string>
): Promise<{ readonly views: number; readonly differences: ReadonlyArray<string> }> => {
  const isLevel = ({ serving, head }: Projection) => serving?.position === head
  if (!(await eventually(async () => (await projectionsOf(api)).every(isLevel), levelMillisMax, 100)))
    return { views: 0, differences: [`the views stay behind: ${JSON.stringify(await projectionsOf(api))}`] }
  const grown = await viewsOf(api, tenants)
  const before = new Map((await projectionsOf(api)).map(({ name, serving }) => [name, serving?.model]))
  for (const name of rebuilt) await api.api("POST", `/projections/${name}/rebuild`)
  const isAnew = ({ name, serving, building, head }: Projection) =>
    serving !== null && serving.model !== before.get(name) && building === null && serving.position === head
  const done = await eventually(async () => (await projectionsOf(api)).every(isAnew), rebuildMillisMax, 100)
  if (!done) return { views: grown.size, differences: [`the views were not made anew: ${JSON.stringify(await projectionsOf(api))}`] }
  const anew = await viewsOf(api, tenants)
  const names = new Set([...grown.keys(), ...anew.keys()])
  const differing = [...names].filter((name) => !isDeepStrictEqual(grown.get(name), anew.get(name)))
  return {
    views: grown.size,
    differences: differing.map((name) => `${name} is ${JSON.stringify(grown.get(name))}, and made anew ${JSON.stringify(anew.get(name))}`)
  }
}
