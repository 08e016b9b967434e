/** All read models. A new one is added here, and filled from the first event at the next start. */
import { apiKeys } from "./api-keys.ts"
import { audit } from "./audit.ts"
import { deliveries } from "./deliveries.ts"
import type { AnyProjection } from "./projection.ts"
import { runs } from "./runs.ts"
import { settings } from "./settings.ts"
import { tenants } from "./tenants.ts"
import { usage } from "./usage.ts"

export const projections: ReadonlyArray<AnyProjection> = [apiKeys, audit, deliveries, runs, settings, tenants, usage]
