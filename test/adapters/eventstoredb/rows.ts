/** The rows of a contract on EventStoreDB: the stand-in always, a server that the environment names, and a container where an engine answers. */
import { KurrentDbContainer } from "@testcontainers/kurrentdb"
import { afterAll, beforeAll, describe, it } from "vitest"
import { containerRow, serverRow } from "../../support/containers.ts"
import { notVerified } from "../../support/count-reporter.ts"
import { EventStoreStandIn } from "../../support/event-store.ts"
import { type EventStoreInstallation, eventStoreInstallation } from "./installation.ts"

export interface Row {
  readonly name: string
  /** On a log that others write to as well. */
  readonly shared: () => EventStoreInstallation
  /** On an empty log of its own, one at a time. Undefined where nobody may empty it. */
  readonly empty: (() => EventStoreInstallation) | undefined
}

const image = "docker.kurrent.io/kurrent-latest/kurrentdb:25.0"

/** Declares a contract for each row; await it at the top of the test's file. */
export const eventStoreRows = async (declare: (row: Row) => void): Promise<void> => {
  describe("in a process of its own", () => {
    let standIn: EventStoreStandIn | undefined
    beforeAll(async () => {
      standIn = await EventStoreStandIn.start()
    })
    afterAll(() => standIn?.stop())
    const url = () => standIn!.url
    declare({
      name: "eventstoredb, stand-in",
      shared: () => eventStoreInstallation(url),
      empty: () => eventStoreInstallation(url, () => standIn!.tell("wipe"))
    })
  })
  serverRow("EventStoreDB", "TEST_ESDB_URL", (url) =>
    declare({ name: "eventstoredb, server", shared: () => eventStoreInstallation(url), empty: undefined })
  )
  // In memory: a restart empties it.
  const container = { restart: async () => {} }
  const start = async () => {
    const started = await new KurrentDbContainer(image)
      .withEnvironment({ KURRENTDB_MEM_DB: "true", KURRENTDB_RUN_PROJECTIONS: "None", KURRENTDB_START_STANDARD_PROJECTIONS: "false" })
      .start()
    container.restart = () => started.restart()
    return {
      get url() {
        return started.getConnectionString().replace(/^kurrentdb:/u, "esdb:")
      },
      stop: () => started.stop()
    }
  }
  await containerRow("EventStoreDB", start, (url) =>
    declare({
      name: "eventstoredb, container",
      shared: () => eventStoreInstallation(url),
      empty: () => eventStoreInstallation(url, () => container.restart())
    })
  )
}

/** A contract that needs an empty log. */
export const onEmptyLog =
  (contract: (name: string, make: () => EventStoreInstallation) => void) =>
  ({ name, empty }: Row): void =>
    empty === undefined ? it.skip(`${name}: nobody may empty its log: ${notVerified}`, () => {}) : contract(name, empty)
