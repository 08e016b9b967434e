/** Picks what runs: `start` with its plain flags by the shortest way, everything else by the command line. */
import { parseArgs } from "node:util"

/** The flags of a plain `start`; undefined when the command line has to look at it (help, a mistake, another command). */
const plainStart = (args: ReadonlyArray<string>) => {
  if (args[0] !== "start") return undefined
  try {
    const options = { host: { type: "string" }, port: { type: "string" }, data: { type: "string" } } as const
    const { host, port, data } = parseArgs({ args: args.slice(1), options }).values
    if (port !== undefined && !/^\d{1,5}$/u.test(port)) return undefined
    return {
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port: Number(port) }),
      ...(data === undefined ? {} : { dataFolder: data })
    }
  } catch {
    return undefined
  }
}

// The command line's modules take 60 ms and 8 MiB that a server has no use for.
const flags = plainStart(process.argv.slice(2))
if (flags === undefined) (await import("./cli/root.ts")).run()
else (await import("./start.ts")).startProcess(flags)
