/**
 * The servers of the distributed demo, each a process of its own on loopback: a real NATS, and the stand-ins of the tests for
 * EventStoreDB and MongoDB, which speak their protocols and are no evidence about them.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type CommandFailed, failed } from "../cli/failure.ts"
import { stop } from "./processes.ts"

const startTimeout = Duration.seconds(15)
const standIn = (name: string) => fileURLToPath(new URL(`../../test/stand-ins/${name}/main.ts`, import.meta.url))

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** Resolves with what the server says once it listens; it ends with the scope, and with this process. */
const serverThatSays = (name: string, command: string, args: ReadonlyArray<string>, listening: RegExp) =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] })),
      stop
    )
    return yield* said(child, name, listening)
  })

const said = (child: ChildProcess, name: string, listening: RegExp): Effect.Effect<string, CommandFailed> =>
  Effect.callback<string, CommandFailed>((resume) => {
    let text = ""
    const look = (chunk: Buffer) => {
      text += String(chunk)
      const found = listening.exec(text)
      if (found !== null) resume(Effect.succeed(found[1] ?? ""))
    }
    child.stdout?.on("data", look)
    child.stderr?.on("data", look)
    child.once("error", () =>
      resume(
        Effect.fail(
          failed(`${name} was not found`, `Install it and put it on the PATH: on Debian, apt-get install ${name}. Nothing was started.`)
        )
      )
    )
    child.once("exit", (code) => resume(Effect.fail(failed(`${name} did not start`, `It ended with code ${code}: ${text.slice(-500)}`))))
  }).pipe(
    Effect.timeoutOrElse({
      duration: startTimeout,
      orElse: () => Effect.fail(failed(`${name} did not start`, `It did not listen within ${Duration.format(startTimeout)}.`))
    })
  )

/** Starts them over a folder, and gives the variables by which a process finds them. */
export const startServers = (folder: string): Effect.Effect<Readonly<Record<string, string>>, CommandFailed, Scope.Scope> =>
  Effect.gen(function* () {
    if (!existsSync(standIn("eventstoredb")))
      return yield* failed(
        "No stand-in servers",
        "The distributed demo needs the repository: its servers lie in test/stand-ins. Nothing was started."
      )
    const natsPort = yield* freePort
    const natsFlags = ["-a", "127.0.0.1", "-p", String(natsPort), "-js", "-sd", join(folder, "nats")]
    yield* serverThatSays("nats-server", "nats-server", natsFlags, /Server is ready()/u)
    const node = process.execPath
    const listening = /listening on (\d+)/u
    const store = yield* serverThatSays("eventstoredb", node, [standIn("eventstoredb"), "--data", join(folder, "eventstoredb")], listening)
    const mongo = yield* serverThatSays(
      "mongodb",
      node,
      [standIn("mongodb"), "--replica-set", "rs0", "--data", join(folder, "mongodb")],
      listening
    )
    const database = (name: string) => `mongodb://127.0.0.1:${mongo}/${name}?replicaSet=rs0`
    return {
      TRIBUTARY_JOURNAL: `esdb://127.0.0.1:${store}?tls=false`,
      TRIBUTARY_BUS: `nats://127.0.0.1:${natsPort}`,
      TRIBUTARY_READ_MODELS: database("tributary_views"),
      TRIBUTARY_VAULT: database("tributary_vault")
    }
  })
