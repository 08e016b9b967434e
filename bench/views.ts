/** Waits for the platform's views, so that a row measures what it names and not the work that an earlier one left. */
import { until } from "./child.ts"
import type { Platform } from "./platform.ts"
import type { Settings } from "./rounds.ts"

const viewsSeconds = 600

interface Progress {
  readonly items: ReadonlyArray<{
    readonly serving: { readonly position: string | null } | null
    readonly building: object | null
    readonly head: string | null
  }>
}

export const viewsCaughtUp = async (platform: Platform, tell?: Settings["tell"]): Promise<void> => {
  const began = performance.now()
  await until(
    "the views to catch up",
    viewsSeconds,
    async () => {
      const { items } = await platform.call<Progress>("GET", "/projections")
      return items.every(({ serving, building, head }) => building === null && serving !== null && serving.position === head) ? true : null
    },
    200
  )
  tell?.(`the views caught up in ${((performance.now() - began) / 1000).toFixed(0)} s`)
}
