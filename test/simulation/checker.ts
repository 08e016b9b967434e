/** The checker: compares what the vendors and the shop saw with the log, and the log with its own rules. It never looks at the code's mind. */
import * as Context from "effect/Context"
import { type Run, run } from "#domain/run.ts"
import { Transact } from "#services/transact.ts"
import { hashAfter, hashBeforeFirst } from "./durable-log.ts"
import type { Executed } from "./execution.ts"
import { callMillis, effectOf } from "./fixtures.ts"
import { type DeliveryHistory, folded, type Histories, type History, historiesOf } from "./histories.ts"
import { isProbe } from "./vendors.ts"

/** How long after its record a call may leave (R11). */
const sendWithinMillis = 10_000

type Violations = Array<string>

/** Revisions without gap, hashes that chain, ids and content that are there: for every stream. */
const checkLog = ({ world: { log } }: Executed, found: Violations) => {
  for (const { name, events, contents, hash } of log.streams.values()) {
    const ids = new Set<string>()
    let position = ""
    events.forEach((event, index) => {
      if (event.revision !== index) found.push(`${name}: revision ${event.revision} stands in place ${index}`)
      if (event.position <= position) found.push(`${name}: position ${event.position} comes after ${position}`)
      if (ids.has(event.id)) found.push(`${name}: the event ${event.id} is there twice`)
      ids.add(event.id)
      position = event.position
      for (const ref of JSON.stringify(event.data).matchAll(/"([a-z]+-[^"#]+)#([^"]+)"/gu))
        if (name.endsWith(`/${ref[1]}`) && !contents.has(ref[2]!))
          found.push(`${name}: ${event.type} refers to ${ref[2]}, which is not there`)
    })
    let expected = hashBeforeFirst(name)
    for (const record of log.records.get(name) ?? []) expected = hashAfter(expected, record)
    if (hash !== expected || events.at(-1)?.hash !== expected) found.push(`${name}: its hash does not follow from its events`)
  }
}

/** The index of open work says of every stream what its state says (R24). */
const checkOpenWork = ({ all }: Histories, found: Violations) => {
  for (const { stream, state, aggregate } of all) {
    const due = aggregate.workDue?.(state) ?? null
    if (due !== stream.workDue) found.push(`${stream.name}: the open-work index says ${stream.workDue}, its state ${due}`)
  }
}

/** The same text for the same value: fields in the order of their names. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)))
      : inner
  )

/** What a process remembers of a stream is what its events say, except for those at the end that others wrote. */
const checkCaches = ({ living }: Executed, { all }: Histories, found: Violations) => {
  for (const { process, services } of living) {
    const { peek } = Context.get(services, Transact)
    for (const { aggregate, stream, id, state, events } of all) {
      const cached: unknown = peek(aggregate, stream.scope, id)
      if (cached === undefined) continue
      const text = canonical(cached)
      let known = events.length
      let is = canonical(state)
      while (text !== is && known > 0 && events[known - 1]!.writer !== process.writer)
        is = canonical(folded(aggregate, events.slice(0, --known)))
      if (text !== is) found.push(`${stream.name}: ${process.writer} remembers ${text}, its events say ${is}`)
    }
  }
}

/** Every acknowledged order is kept once, and ends in a run of each flow that wants it, or was refused by the quota. */
const checkDeliveries = ({ deliveries, fixture, installed }: Executed, histories: Histories, found: Violations) => {
  const { quota } = fixture
  for (const { order, status } of deliveries) {
    if (status === 429 && quota?.mode === "block") continue
    if (status !== 200) found.push(`order ${order} was answered with ${status} for good`)
    const kept = histories.deliveries.filter((history) => history.order === order)
    if (kept.length !== 1) found.push(`order ${order} was acknowledged and is kept ${kept.length} times`)
  }
  const runsOf = new Map<string, History<Run>>(histories.runs.map((history) => [history.id, history]))
  const claimed = new Set<string>()
  for (const { id, order, state } of histories.deliveries) {
    if (state.status === "refused" && quota?.mode === "block") continue
    if (state.status === "postponed" && quota?.mode === "queue") continue
    if (state.status !== "routed") {
      found.push(`order ${order} ended as ${state.status}`)
      continue
    }
    const flows = state.runs.map(({ flowId }) => flowId).sort()
    if (flows.join() !== [...installed.flowIds].sort().join()) found.push(`order ${order} led to runs of ${flows.join()}`)
    for (const { runId, flowId } of state.runs) {
      claimed.add(runId)
      const history = runsOf.get(runId)
      if (history === undefined) found.push(`order ${order} was routed to the run ${runId} of ${flowId}, which is not there`)
      else if (history.state.started?.deliveryId !== id) found.push(`the run ${runId} is of another delivery`)
    }
  }
  for (const { id } of histories.runs) if (!claimed.has(id)) found.push(`no delivery was routed to the run ${id}`)
}

/** Which events may stand where: told by the events alone, not by the code that wrote them. */
const checkRun = ({ id, events, state }: History<Run>, found: Violations) => {
  const at = (text: string, index: number) => found.push(`run ${id}, revision ${index}: ${text}`)
  const open = new Map<string, number>()
  const attempts = new Map<string, number>()
  const succeeded = new Set<string>()
  let ended = false
  events.forEach(({ type, data }, index) => {
    const step = data["step"] as string
    const attempt = data["attempt"] as number
    if ((type === "RunStarted") !== (index === 0)) at(`${type} stands there`, index)
    if (ended && type !== "RunRetried" && type !== "StepSucceeded" && type !== "StepFailed") at(`${type} after its end`, index)
    if (type === "StepStarted") {
      if (open.has(step)) at(`attempt ${attempt} of ${step} starts while ${open.get(step)} is open`, index)
      if (attempt !== (attempts.get(step) ?? 0) + 1) at(`attempt ${attempt} of ${step} follows ${attempts.get(step)}`, index)
      if (succeeded.has(step)) at(`${step} starts again after it succeeded`, index)
      open.set(step, attempt)
      attempts.set(step, attempt)
    }
    if (type === "StepSucceeded" || type === "StepFailed") {
      const known = open.get(step)
      if (known !== undefined && known !== attempt) at(`the outcome of attempt ${attempt} of ${step} comes while ${known} is open`, index)
      if (succeeded.has(step)) at(`a second outcome of ${step}`, index)
      if (type === "StepSucceeded") succeeded.add(step)
      open.delete(step)
      attempts.set(step, attempt)
    }
    if (type === "StepDecided") {
      open.delete(step)
      if (data["decision"] === "succeeded") succeeded.add(step)
    }
    if (type === "RunSucceeded") {
      const steps = (events[0]!.data["steps"] as ReadonlyArray<{ readonly id: string }>).map(({ id }) => id)
      for (const each of steps) if (!succeeded.has(each)) at(`it succeeds without ${each}`, index)
    }
    ended = ["RunSucceeded", "RunFailed", "RunCancelled", "RunQuarantined"].includes(type) || (ended && type !== "RunRetried")
  })
  if (state.status !== "succeeded") found.push(`run ${id} ended as ${state.status}`)
}

/** Who goes on with what another life had in hand says so before: else a step that kills the process kills it for ever (R14). */
const checkTakeovers = (runs: ReadonlyArray<History<Run>>, deliveries: ReadonlyArray<DeliveryHistory>, found: Violations) => {
  for (const { id, events, state } of runs) {
    const routing = deliveries.find((each) => each.id === state.started?.deliveryId)?.events ?? []
    let at = run.initialState
    events.forEach(({ type, version, data, writer, origin }, index) => {
      const before = events[index - 1]
      const { status } = at
      at = run.evolve(at, run.events.decode(type, version, data))
      if (before === undefined || before.writer === writer || origin.actor.id !== "runner" || before.origin.actor.id !== "runner") return
      // Waiting for a time, a connection or a person, it was in nobody's hand.
      if (status !== "running") return
      const said = type === "RunResumed" || type === "RunQuarantined"
      const earlier = events.slice(0, index).some((event) => event.writer === writer)
      const rerouted = routing.some((event) => event.type === "RoutingResumed" && event.writer === writer)
      if (!said && !earlier && !rerouted)
        found.push(`run ${id}, revision ${index}: ${writer} goes on after ${before.writer} with ${type}, without a word`)
    })
  }
}

/** Where others may have it in hand, a call is given up only when it cannot be on its way any more (R11). */
const checkPatience = ({ fixture, world }: Executed, runs: ReadonlyArray<History<Run>>, found: Violations) => {
  // Who is alone with its journal follows a process that is surely dead. And a clock that jumped told a wrong time.
  if (fixture.processes.length === 1 || world.injected.has("clock jump")) return
  for (const { id, events } of runs)
    for (const { type, data, writer, writtenAt } of events) {
      if (type !== "DecisionRequested") continue
      const started = events.find(
        (event) => event.type === "StepStarted" && event.data["step"] === data["step"] && event.data["attempt"] === data["attempt"]
      )
      if (started === undefined || started.writer === writer) continue
      const until = (started.data["sendBy"] as number) + (started.data["timeoutMillis"] as number)
      if (writtenAt < until)
        found.push(
          `attempt ${data["attempt"]} of ${data["step"]} of run ${id} is given up ${(until - writtenAt).toFixed(0)} ms before its call may have ended`
        )
    }
}

/** Calls against records: none without one, one for each, in time; effects as often as their class promises. */
const checkEffects = ({ world: { vendors }, fixture }: Executed, { runs }: Histories, found: Violations) => {
  const steps = new Map(
    fixture.flows.flatMap((flow) => flow.steps.map(({ id, action }) => [`${flow.id}/${id}`, effectOf[action]] as const))
  )
  const known = new Map(runs.map((history) => [history.id, history]))
  const seen = new Set<string>()
  for (const sent of vendors.sent) {
    const { run, step, attempt, sentAt, sender } = sent
    if (isProbe(sent)) continue
    const history = known.get(run)
    const effect = steps.get(`${history?.state.started?.flowId}/${step}`)
    if (effect === "safe") continue
    const call = `attempt ${attempt} of ${step} of run ${run}`
    if (attempt === null) {
      found.push(`${sender} called ${step} of run ${run} without a record`)
      continue
    }
    if (seen.has(call)) found.push(`${call} was sent twice`)
    seen.add(call)
    const record = history!.events.find(
      (event) => event.type === "StepStarted" && event.data["step"] === step && event.data["attempt"] === attempt
    )
    if (record !== undefined && sentAt > record.writtenAt + sendWithinMillis) found.push(`${call} was sent too late`)
  }
  for (const history of runs) {
    for (const [key, effect] of steps) {
      const [flow, step] = key.split("/") as [string, string]
      if (history.state.started?.flowId !== flow) continue
      const arrived = vendors.ledger.filter((entry) => entry.run === history.id && entry.step === step)
      checkStep(history, step, effect, arrived, found)
    }
  }
}

const checkStep = (
  { id, events, state }: History<Run>,
  step: string,
  effect: string,
  arrived: Executed["world"]["vendors"]["ledger"],
  found: Violations
) => {
  const effects = arrived.filter(({ applied }) => applied)
  const about = `${step} of run ${id}`
  if (arrived.some(({ status }) => status === 422)) found.push(`${about} used its key for another request`)
  const succeeded = state.steps[step]?.status === "succeeded"
  if (succeeded && effects.length === 0) found.push(`${about} succeeded, and no vendor knows of it`)
  // What a vendor does that long after it was asked to, no probe can foresee.
  const inTime = effect === "verifiable" ? effects.filter(({ at, sentAt }) => at <= sentAt + 2 * callMillis) : effects
  if (effect !== "safe" && inTime.length > 1) found.push(`${about} had its effect ${effects.length} times`)
  for (const { type, data } of events) {
    if (type !== "StepFailed" || data["step"] !== step || data["definitive"] !== true) continue
    if (effects.some(({ attempt }) => attempt === data["attempt"]))
      found.push(`attempt ${data["attempt"]} of ${about} is recorded as surely without effect, and had one`)
  }
}

/** Each unit is counted once, no window gives more than the limit, and nothing runs without a unit. */
const checkQuota = ({ fixture: { quota } }: Executed, { windows, deliveries }: Histories, found: Violations) => {
  const granted = new Set<string>()
  for (const { id, events, state } of windows) {
    const mine = events.filter(({ type }) => type === "UnitsReserved").flatMap(({ data }) => data["consumers"] as ReadonlyArray<string>)
    if (new Set(mine).size !== mine.length) found.push(`${id}: a consumer has two units`)
    if (mine.length !== state.total) found.push(`${id}: ${mine.length} units were given, ${state.total} counted`)
    if (quota !== undefined && quota.mode !== "warn" && mine.length > quota.limit)
      found.push(`${id}: ${mine.length} units of ${quota.limit}`)
    for (const consumer of mine) {
      if (granted.has(consumer)) found.push(`${id}: the delivery ${consumer} has a unit of another day already`)
      granted.add(consumer)
    }
    if (quota?.mode === "block" && deliveries.length >= quota.limit && windows.length === 1 && mine.length !== quota.limit)
      found.push(`${id}: ${deliveries.length} asked, ${mine.length} of ${quota.limit} were given`)
  }
  for (const { id, state } of deliveries)
    if ((state.status === "routed") !== granted.has(id))
      found.push(`the delivery ${id} is ${state.status} and has ${granted.has(id) ? "a" : "no"} unit`)
}

/** Everything that is wrong with an execution, in sentences. */
export const violationsOf = (executed: Executed): ReadonlyArray<string> => {
  const { world, ended, refusals } = executed
  const found: Violations = [...refusals]
  if (ended !== "done") {
    const open = [...world.log.open.keys()].join(", ")
    found.push(`it did not come to rest (${ended}, after ${world.elapsed.toFixed(0)} ms); open: ${open || "nothing"}`)
  }
  checkLog(executed, found)
  const histories = historiesOf(world.log)
  checkOpenWork(histories, found)
  checkCaches(executed, histories, found)
  checkDeliveries(executed, histories, found)
  for (const history of histories.runs) checkRun(history, found)
  checkTakeovers(histories.runs, histories.deliveries, found)
  checkPatience(executed, histories.runs, found)
  checkEffects(executed, histories, found)
  checkQuota(executed, histories, found)
  return found
}
