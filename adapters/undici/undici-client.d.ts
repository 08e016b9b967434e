/** Types for undici's client and connector taken alone: the package's entry would load fetch, caches and mocks too (30 ms at start). */
declare module "undici/lib/dispatcher/client.js" {
  import { Client } from "undici"
  export default Client
}
declare module "undici/lib/core/connect.js" {
  import { buildConnector } from "undici"
  export default buildConnector
}
