/** F1: `kill -9` at random times under load. The oracle is the ledger of an app in its own process, flushed before it answers. */
import { setTimeout as pause } from "node:timers/promises"
import { addTenant, deliverAll, eventually, publishOrders, startLedger, statusesOf } from "./orders-platform.ts"
import { startPlatform } from "./platform-process.ts"
import { quantile } from "./random.ts"
import type { BySize, Scenario } from "./scenario.ts"

const kills_: BySize = { P: 25, N: 200, R: 1_000 }
const runs_: BySize = { P: 1_000, N: 5_000, R: 20_000 }
/** A life of the platform before it is killed, from its being ready. */
const lifeMillis = { least: 100, more: 360 }

/** Each call of the app takes so long: many kills fall between an effect and its answer. */
const answerMillis = 40

export const kills: Scenario = {
  id: "F1",
  title: "killed at random times",
  run: async ({ size, random, say }) => {
    const runs = runs_[size]
    const platform = await startPlatform()
    const ledger = await startLedger(platform.folder, answerMillis)
    try {
      await publishOrders(platform)
      const hook = await addTenant(platform, "acme-corp", ledger)
      let acknowledged = 0
      const readyMillis: Array<number> = []
      let injected = 0
      let idle = 0
      // Each life has its share of the orders, spread over it: no kill finds the platform idle.
      let life = { began: performance.now(), millis: lifeMillis.least }
      const lived = () => Math.min(1, (performance.now() - life.began) / life.millis)
      const mayGo = (index: number) => index < Math.ceil(((injected + lived()) * runs) / kills_[size])
      const sent = deliverAll(hook, 0, runs, { atOnce: 8, delivered: () => acknowledged++, mayGo })
      while (injected < kills_[size]) {
        life = { began: performance.now(), millis: lifeMillis.least + random.next() * lifeMillis.more }
        await pause(life.millis)
        if (acknowledged >= runs && ledger.orders().size >= runs) idle++
        await platform.kill()
        life = { began: performance.now(), millis: Number.POSITIVE_INFINITY }
        injected++
        const began = performance.now()
        await platform.start()
        readyMillis.push(performance.now() - began)
        if (injected % 100 === 0) say(`${injected} kills, ${acknowledged} acknowledged`)
      }
      life = { began: 0, millis: 1 }
      const again = await sent
      const limitMillis = 60_000 + runs * 10
      await eventually(() => ledger.orders().size >= runs, limitMillis, 200)
      const succeeded = async () => (await statusesOf(platform, "acme-corp"))["succeeded"] === runs
      const done = await eventually(succeeded, limitMillis, 300)
      const statuses = await statusesOf(platform, "acme-corp")
      const repeated = ledger.lines().filter((line) => line.repeated).length
      const doubled = ledger.doubled()
      const lost = runs - ledger.orders().size
      return {
        injected: { kills: injected - idle },
        found: {
          "events acknowledged": acknowledged,
          "deliveries tried again": again,
          lost,
          doubled: doubled.length,
          "calls repeated under their key": repeated,
          runs: JSON.stringify(statuses),
          "ready again p50 ms": Math.round(quantile(readyMillis, 0.5)),
          "ready again p99 ms": Math.round(quantile(readyMillis, 0.99)),
          "kills when all was done": idle
        },
        violations: [
          ...(lost === 0 ? [] : [`${lost} acknowledged orders never reached the app`]),
          ...doubled.map((order) => `the order ${order} was entered under two keys`),
          ...(done && Object.keys(statuses).length === 1
            ? []
            : [`the runs stand at ${JSON.stringify(statuses)}, not at ${runs} succeeded`]),
          ...(again > 0 ? [] : ["no delivery was ever interrupted: the kills hit nothing"])
        ]
      }
    } finally {
      await ledger.end()
      await platform.remove()
    }
  }
}
