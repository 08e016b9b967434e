/** The whole HTTP API as one declaration: server, clients and documentation derive from it. */
import * as HttpApi from "effect/http-api/HttpApi"
import * as OpenApi from "effect/http-api/OpenApi"
import { version } from "../../version.ts"
import { ApiKeysApi } from "./api-keys.ts"
import { AuditApi, TenantAuditApi } from "./audit.ts"
import { ConnectionsApi, CredentialsApi, FixedConnectionsApi } from "./connections.ts"
import { ConnectorsApi } from "./connectors.ts"
import { EventsApi } from "./events.ts"
import { ExecutionsApi } from "./executions.ts"
import { describeHeaders } from "./headers.ts"
import { HooksApi, SpaceHooksApi } from "./hooks.ts"
import { ProjectionsApi } from "./projections.ts"
import { PlatformSettingsApi, SpaceSettingsApi, TenantSettingsApi } from "./settings.ts"
import { SystemApi } from "./system.ts"
import { TenantWorkflowsApi } from "./tenant-workflows.ts"
import { TenantApi, TenantsApi } from "./tenants.ts"
import { UsageApi } from "./usage.ts"
import { WorkflowsApi } from "./workflows.ts"

export class Api extends HttpApi.make("tributary")
  .add(TenantsApi)
  .add(TenantApi)
  .add(ConnectorsApi)
  .add(WorkflowsApi)
  .add(FixedConnectionsApi)
  .add(SpaceHooksApi)
  .add(ConnectionsApi)
  .add(CredentialsApi)
  .add(HooksApi)
  .add(TenantWorkflowsApi)
  .add(ExecutionsApi)
  .add(EventsApi)
  .add(UsageApi)
  .add(TenantSettingsApi)
  .add(TenantAuditApi)
  .add(SpaceSettingsApi)
  .add(PlatformSettingsApi)
  .add(AuditApi)
  .add(ApiKeysApi)
  .add(ProjectionsApi)
  .add(SystemApi)
  .annotate(HttpApi.ParseOptions, { errors: "all" })
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(OpenApi.Transform, describeHeaders)
  .annotateMerge(
    OpenApi.annotations({
      title: "Tributary",
      version,
      description:
        "Embedded integrations on a log of events per tenant. Errors are problem details (RFC 9457); lists are pages with a cursor; changes answer their position."
    })
  ) {}
