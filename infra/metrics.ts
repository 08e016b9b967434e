/** Prometheus text, gathered when it is asked for: hot paths only count in plain numbers. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

export interface Sample {
  readonly value: number
  readonly labels?: Readonly<Record<string, string>>
}
export interface Metric {
  /** Without the prefix `tributary_`; its unit ends the name, a counter ends in `_total`. */
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge"
  readonly samples: ReadonlyArray<Sample>
}
/** Read at each scrape. A source that fails is left out of that scrape. */
export type MetricSource = Effect.Effect<ReadonlyArray<Metric>>

/** One value without labels. */
export const counter = (name: string, help: string, value: number): Metric => ({ name, help, type: "counter", samples: [{ value }] })
export const gauge = (name: string, help: string, value: number): Metric => ({ name, help, type: "gauge", samples: [{ value }] })
/** One value per label value, from a plain record of counts. */
export const counterBy = (name: string, help: string, label: string, counts: Readonly<Record<string, number>>): Metric => ({
  name,
  help,
  type: "counter",
  samples: Object.entries(counts).map(([key, value]) => ({ value, labels: { [label]: key } }))
})

const escapeLabel = (text: string): string => text.replace(/[\\"\n]/gu, (character) => (character === "\n" ? "\\n" : `\\${character}`))
const renderLabels = (labels: Sample["labels"] = {}): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

/** Exposition format 0.0.4. */
export const render = (metrics: ReadonlyArray<Metric>): string =>
  metrics
    .map(({ name, help, type, samples }) =>
      [
        `# HELP tributary_${name} ${help}`,
        `# TYPE tributary_${name} ${type}`,
        ...samples.map(({ value, labels }) => `tributary_${name}${renderLabels(labels)} ${value}`)
      ].join("\n")
    )
    .join("\n")
    .concat("\n")

const ofProcess: MetricSource = Effect.sync(() => {
  const memory = process.memoryUsage()
  const cpu = process.cpuUsage()
  return [
    gauge("resident_memory_bytes", "Resident memory of the whole process.", memory.rss),
    gauge("heap_used_bytes", "Used heap of the main thread.", memory.heapUsed),
    counter("cpu_seconds_total", "CPU seconds of the whole process.", (cpu.user + cpu.system) / 1e6),
    gauge("uptime_seconds", "Seconds since the process began.", process.uptime())
  ]
})

export class Metrics extends Context.Service<
  Metrics,
  {
    readonly register: (source: MetricSource) => void
    readonly scrape: Effect.Effect<string>
  }
>()("tributary/infra/Metrics") {
  static readonly layer = Layer.sync(Metrics, () => {
    const sources: Array<MetricSource> = [ofProcess]
    return Metrics.of({
      register: (source) => {
        sources.push(source)
      },
      scrape: Effect.forEach(sources, (source) => Effect.catchCause(source, () => Effect.succeed<ReadonlyArray<Metric>>([]))).pipe(
        Effect.map((gathered) => render(gathered.flat()))
      )
    })
  })
}
