/**
 * Rows of contracts against real servers: in a container where an engine answers, or at a URL that the environment gives. A row
 * that cannot run is skipped in plain sight, and fails where `REQUIRE_CONTAINERS=1`.
 */
import { getContainerRuntimeClient } from "testcontainers"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { notVerified } from "./count-reporter.ts"

export interface StartedServer {
  readonly url: string
  readonly stop: () => Promise<unknown>
}

const startMillisMax = 300_000

let engine: Promise<boolean> | undefined
const engineAnswers = (): Promise<boolean> => {
  engine ??= getContainerRuntimeClient().then(
    () => true,
    () => false
  )
  return engine
}

/** `rows` are declared at once and ask for the URL when they run; await this call at the top of the test's file. */
export const containerRow = async (
  server: string,
  start: () => Promise<StartedServer>,
  rows: (url: () => string) => void
): Promise<void> => {
  if (await engineAnswers()) return inContainer(server, start, rows)
  const line = `${server} server: ${notVerified}`
  console.log(line)
  if (process.env["REQUIRE_CONTAINERS"] === "1")
    it(line, () => assert.fail("REQUIRE_CONTAINERS=1, but no container engine answers. Start one, or unset the variable."))
  else it.skip(line, () => {})
}

/** A row against a server that is already there, where the environment names one. */
export const serverRow = (server: string, variable: string, rows: (url: () => string) => void): void => {
  const url = process.env[variable]
  if (url === undefined || url === "") return
  describe(`${server} at ${variable}`, () => rows(() => url))
}

const inContainer = (server: string, start: () => Promise<StartedServer>, rows: (url: () => string) => void): void => {
  describe(`${server} in a container`, () => {
    let running: StartedServer | undefined
    beforeAll(async () => {
      running = await start()
    }, startMillisMax)
    afterAll(() => running?.stop(), startMillisMax)
    rows(() => running!.url)
  })
}
