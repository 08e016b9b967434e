/** Preloaded into each thread of a platform: writes down which built-in prototypes have changed since, beat by beat. */
import { appendFileSync } from "node:fs"
import { threadId } from "node:worker_threads"

const beatMillis = 50
const builtIns = { Object, Array, String, Number, Boolean, Function, Symbol, Date, RegExp, Error, Map, Set, Promise, Uint8Array, Buffer }
const watched = Object.entries(builtIns).flatMap(([name, { prototype }]) => [
  [name, prototype],
  [`${name} itself`, builtIns[name]]
])
const stateOf = (target) => new Map(Reflect.ownKeys(target).map((key) => [key, Object.getOwnPropertyDescriptor(target, key)]))
const before = new Map(watched.map(([name, target]) => [name, stateOf(target)]))

const changesOf = (name, target) => {
  const [old, now] = [before.get(name), stateOf(target)]
  const keys = new Set([...old.keys(), ...now.keys()])
  return [...keys].filter((key) => !Object.is(old.get(key)?.value, now.get(key)?.value) || old.get(key)?.get !== now.get(key)?.get).map((key) => `${name}.${String(key)}`)
}

setInterval(() => {
  const changed = watched.flatMap(([name, target]) => changesOf(name, target))
  appendFileSync(process.env.PROTOTYPE_WATCH_FILE, `${JSON.stringify({ thread: threadId, at: Date.now(), changed })}\n`)
}, beatMillis).unref()
