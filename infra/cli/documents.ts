/** Documents that are published from files: connectors' manifests and flows. */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"
import type { Ask } from "./client.ts"
import { type CommandFailed, failed } from "./failure.ts"

/** A YAML or JSON file as a request; what is wrong in it, the server says. */
export const documentFrom = (file: string): Effect.Effect<Ask, CommandFailed> =>
  Effect.try({
    try: () => ({ method: "POST" as const, body: readFileSync(file, "utf8"), contentType: "application/yaml" }),
    catch: (cause) => failed("The file cannot be read", `${file}: ${(cause as Error).message}. Nothing was done. Check the path.`)
  })
