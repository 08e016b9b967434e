/** All read models. A new one is added here, and filled from the first event at the next start. */
import { apiKeys } from "./api-keys.ts"
import { audit } from "./audit.ts"
import { connections } from "./connections.ts"
import { connectors } from "./connectors.ts"
import { deliveries } from "./deliveries.ts"
import { enablements } from "./enablements.ts"
import { endpoints } from "./endpoints.ts"
import { flows } from "./flows.ts"
import type { AnyProjection } from "./projection.ts"
import { runs } from "./runs.ts"
import { settings } from "./settings.ts"
import { tenants } from "./tenants.ts"
import { usage } from "./usage.ts"

export const projections: ReadonlyArray<AnyProjection> = [
  apiKeys,
  audit,
  connections,
  connectors,
  deliveries,
  enablements,
  endpoints,
  flows,
  runs,
  settings,
  tenants,
  usage
]
