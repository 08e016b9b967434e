/** `tributary connectors`: the apps that flows can work with. */

import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { serverCommand, text } from "./command.ts"
import { documentFrom } from "./documents.ts"
import { plain, show, table } from "./output.ts"

interface Connector {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly visibility: string
}
interface Published {
  readonly id: string
  readonly version: number
  readonly contentHash: string
}

const path = "/api/v1/connectors"
const row = ({ id, name, version, visibility }: Connector): ReadonlyArray<string> => [
  id,
  version === 0 ? "built in" : `v${version}`,
  visibility,
  plain(name)
]

const list = serverCommand("list", "The space's own connectors and the built-in ones.", {}, (client, input) =>
  Effect.flatMap(client.ask<{ readonly items: ReadonlyArray<Connector> }>(path), (listed) =>
    show(input.json, listed, ({ items }) => table(["CONNECTOR", "VERSION", "VISIBILITY", "NAME"], items.map(row)))
  )
)

const publish = serverCommand(
  "publish",
  "Publishes a manifest as the connector's next version; the same text again changes nothing.",
  { file: text("file", "YAML or JSON") },
  (client, input) =>
    Effect.gen(function* () {
      const published = yield* client.ask<Published>(path, yield* documentFrom(input.file))
      yield* show(input.json, published, ({ id, version }) => `The connector ${id} is published, version ${version}.`)
    })
)

export const connectors = Command.make("connectors").pipe(
  Command.withDescription("Connectors: the apps that flows can work with, by their manifests."),
  Command.withSubcommands([list, publish])
)
