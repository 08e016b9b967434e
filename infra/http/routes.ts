/** All routes of the API with what answers them. */

import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import { Api } from "./api/api.ts"
import * as documents from "./documents.ts"
import * as apiKeys from "./handlers/api-keys.ts"
import * as audit from "./handlers/audit.ts"
import * as connections from "./handlers/connections.ts"
import * as connectors from "./handlers/connectors.ts"
import * as events from "./handlers/events.ts"
import * as executions from "./handlers/executions.ts"
import * as guards from "./handlers/guards.ts"
import * as hooks from "./handlers/hooks.ts"
import * as projections from "./handlers/projections.ts"
import * as settings from "./handlers/settings.ts"
import * as system from "./handlers/system.ts"
import * as tenantWorkflows from "./handlers/tenant-workflows.ts"
import * as tenants from "./handlers/tenants.ts"
import * as usage from "./handlers/usage.ts"
import * as workflows from "./handlers/workflows.ts"
import * as problemPages from "./problem-pages.ts"

const answers = Layer.mergeAll(
  apiKeys.layer,
  audit.layer,
  connections.layer,
  connectors.layer,
  events.layer,
  executions.layer,
  hooks.layer,
  projections.layer,
  settings.layer,
  system.layer,
  tenants.layer,
  tenantWorkflows.layer,
  usage.layer,
  workflows.layer
)

export const layer = Layer.mergeAll(
  HttpApiBuilder.layer(Api).pipe(Layer.provide(answers), Layer.provide(guards.layer)),
  documents.layer,
  problemPages.layer
)
