/** A release that does not exist yet: today's code, with events that today's code cannot read. */
import { cpSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const repository = new URL("../../../", import.meta.url).pathname
const rooms = ["adapters", "connectors", "domain", "infra", "projections", "services", "package.json"]

interface Change {
  readonly file: string
  readonly from: string
  readonly to: string
}
/** A newer version of two types, one of a run and one that a tenant's runs share; and a type that is new altogether. */
const changes: ReadonlyArray<Change> = [
  {
    file: "domain/quota.ts",
    from: "eventFamily(QuotaEvent)",
    to: "eventFamily(QuotaEvent, { UnitsReserved: [(fields) => fields] })"
  },
  {
    file: "domain/run.ts",
    from: "eventFamily(RunEvent)",
    to: "eventFamily(RunEvent, { StepSucceeded: [(fields) => fields] })"
  },
  { file: "domain/run.ts", from: "  RunReleased: {},", to: "  RunReleased: {},\n  RunNoted: {}," },
  {
    file: "domain/run.ts",
    from: '[{ ...command, _tag: "RunStarted" as const }]',
    to: '[{ ...command, _tag: "RunStarted" as const }, { _tag: "RunNoted" as const }]'
  },
  {
    file: "domain/run.ts",
    from: '      case "RunResumed":\n        return',
    to: '      case "RunNoted":\n        return state\n      case "RunResumed":\n        return'
  }
]
/** The types that today's code cannot read, as a refusal names them. */
export const newerTypes: ReadonlyArray<string> = ["RunNoted@1", "StepSucceeded@2", "UnitsReserved@2"]

/** Lays it out in a folder; gives its main program. */
export const layNextRelease = (folder: string): string => {
  for (const room of rooms) cpSync(join(repository, room), join(folder, room), { recursive: true })
  symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"))
  for (const { file, from, to } of changes) {
    const parts = readFileSync(join(folder, file), "utf8").split(from)
    if (parts.length !== 2)
      throw new Error(`"${from}" stands ${parts.length - 1} times in ${file}: the next release has to be made otherwise.`)
    writeFileSync(join(folder, file), parts.join(to))
  }
  return join(folder, "infra/main.ts")
}
