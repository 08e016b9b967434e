/** Image, Compose file, manifests and alerts: they parse, and agree with the product, with each other and with what the tests run on. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { parse, parseAllDocuments } from "yaml"

const root = new URL("../../", import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), "utf8")
const dockerfile = read("infra/container/Dockerfile")
const manifest = JSON.parse(read("package.json")) as {
  readonly version: string
  readonly scripts: { readonly start: string }
  readonly dependencies: Readonly<Record<string, string>>
}
const operations = read("docs/operations.md")

// biome-ignore lint/suspicious/noExplicitAny: documents of foreign shapes; a path that is wrong fails the test.
type Any = Record<string, any>
const compose = parse(read("infra/container/compose.yaml"), { merge: true }) as Any
const kubernetes = readdirSync(new URL("infra/container/kubernetes/", root)).flatMap((name) =>
  parseAllDocuments(read(`infra/container/kubernetes/${name}`)).map((document) => {
    assert.deepStrictEqual(document.errors, [], name)
    return document.toJS() as Any
  })
)
const ofKind = (kind: string): ReadonlyArray<Any> => kubernetes.filter((document) => document["kind"] === kind)
const deployments = ofKind("Deployment")
const podOf = (deployment: Any): Any => deployment["spec"].template.spec
const containerOf = (deployment: Any): Any => podOf(deployment).containers[0]

/** `TRIBUTARY_*` variables that a process reads; an address has a file for its credentials beside it. */
const [, environment] = /^const environment = Config\.all\(\{([\s\S]*?)^\}\)/mu.exec(read("infra/config.ts"))!
const known = new Set(
  [...environment!.matchAll(/(address\()?"([A-Z_]+)"/gu)].flatMap(([, address, name]) =>
    address === undefined ? [`TRIBUTARY_${name}`] : [`TRIBUTARY_${name}`, `TRIBUTARY_${name}_CREDENTIALS_FILE`]
  )
)
const platforms: ReadonlyArray<Any> = ["api", "worker"].map((name) => compose["services"][name])
const environmentOf = (deployment: Any): ReadonlyArray<string> => [
  ...containerOf(deployment).env.map(({ name }: Any) => name),
  ...Object.keys(ofKind("ConfigMap")[0]!["data"])
]

describe("the image", () => {
  it("runs on the Node that the packages name, in both stages", () =>
    assert.deepStrictEqual(
      [...dockerfile.matchAll(/^FROM (\S+)/gmu)].map(([, image]) => image),
      Array.from({ length: 2 }, () => `node:${manifest.dependencies["node"]}-slim`)
    ))
  it("holds every folder that the product imports from, and no other", () => {
    const copied = [...dockerfile.matchAll(/^COPY (\w+) \.\//gmu)].map(([, folder]) => folder!).sort()
    assert.deepStrictEqual(copied, ["adapters", "connectors", "domain", "infra", "projections", "services"])
    const ignore = read("infra/container/Dockerfile.dockerignore")
    for (const folder of copied) assert.include(ignore, `!${folder}\n`)
  })
  it("is run by nobody of importance, is told to stop, and says whether it is well", () => {
    assert.match(dockerfile, /^USER 1000:1000$/mu)
    assert.match(dockerfile, /^STOPSIGNAL SIGTERM$/mu)
    assert.match(dockerfile, /^ENTRYPOINT \["node", .*"infra\/tributary\.mjs"\]$/mu)
    assert.match(dockerfile, /^HEALTHCHECK [\s\S]*\/healthz/mu)
  })
  it("takes the memory settings of npm start, as the command does that hands over", () => {
    const [, variables, flags] = /^((?:\S+=\S+ )+)exec node ((?:--\S+ )+)/u.exec(manifest.scripts.start)!
    assert.include(dockerfile, `    ${variables}\\\n`)
    const quoted = flags!.trim().replaceAll(" ", '", "')
    assert.include(dockerfile, `["node", "${quoted}", "infra/`)
    assert.include(read("infra/tributary.mjs"), `const flags = ["${quoted}"]`)
  })
})

describe("the Compose file", () => {
  it("has one api, two workers and the three servers", () => {
    assert.strictEqual(compose["services"].api.environment.TRIBUTARY_ROLE, "api")
    assert.strictEqual(compose["services"].worker.environment.TRIBUTARY_ROLE, "worker")
    assert.strictEqual(compose["services"].worker.deploy.replicas, 2)
    assert.includeMembers(Object.keys(compose["services"]), ["journal", "bus", "mongodb", "mongodb-setup"])
  })
  it("sets variables that exist, and all that the distributed form needs", () => {
    for (const { environment } of platforms) {
      assert.deepStrictEqual(
        Object.keys(environment).filter((name) => !known.has(name)),
        []
      )
      for (const name of ["JOURNAL", "BUS", "READ_MODELS", "VAULT", "MASTER_KEY_FILE"]) assert.property(environment, `TRIBUTARY_${name}`)
    }
  })
  it("names servers that are in it, by the ports that their health checks ask", () => {
    const { TRIBUTARY_JOURNAL, TRIBUTARY_BUS, TRIBUTARY_READ_MODELS, TRIBUTARY_VAULT } = platforms[0]!["environment"]
    for (const url of [TRIBUTARY_JOURNAL, TRIBUTARY_BUS, TRIBUTARY_READ_MODELS, TRIBUTARY_VAULT])
      assert.property(compose["services"], new URL(url).hostname)
    assert.strictEqual(new URL(TRIBUTARY_JOURNAL).port, "2113")
    assert.notStrictEqual(new URL(TRIBUTARY_READ_MODELS).pathname, new URL(TRIBUTARY_VAULT).pathname)
    for (const url of [TRIBUTARY_READ_MODELS, TRIBUTARY_VAULT]) assert.include(url, "replicaSet=rs0")
    for (const name of [TRIBUTARY_READ_MODELS, TRIBUTARY_VAULT])
      assert.include(read("infra/container/mongodb-setup.js"), new URL(name).pathname.slice(1))
  })
  it("pins every server to the release that the contract suites run on", () => {
    const rows = [read("test/support/mongodb.ts"), read("test/adapters/eventstoredb/rows.ts"), read("test/adapters/bus.test.ts")].join("\n")
    for (const name of ["journal", "bus", "mongodb", "mongodb-setup"]) {
      const { image } = compose["services"][name]
      assert.match(image, /:\d+\.\d+/u)
      assert.include(rows, `"${image}"`)
    }
  })
  it("keeps what servers store in volumes, and asks every server how it is", () => {
    for (const name of ["journal", "bus", "mongodb"]) {
      const { healthcheck, volumes } = compose["services"][name]
      assert.isNotEmpty(healthcheck.test)
      assert.isTrue(volumes.some((volume: string) => volume.startsWith(`${name}:/`)))
      assert.property(compose["volumes"], name)
    }
    assert.match(read("infra/container/nats.conf"), /sync_interval: always/u)
    assert.strictEqual(compose["services"].journal.environment.KURRENTDB_UNSAFE_DISABLE_FLUSH_TO_DISK, "false")
  })
  it("gives secrets by files alone, each of which is declared and used", () => {
    const used = Object.values<Any>(compose["services"]).flatMap(({ secrets = [] }) =>
      secrets.map((secret: string | Any) => (typeof secret === "string" ? secret : secret["source"]))
    )
    assert.deepStrictEqual([...new Set(used)].sort(), Object.keys(compose["secrets"]).sort())
    for (const { environment, secrets } of platforms)
      for (const [name, value] of Object.entries<string>(environment)) {
        assert.notMatch(value, /:\/\/[^/@]*:[^/@]*@/u, name)
        if (name.endsWith("_FILE")) assert.include(secrets, value.replace("/run/secrets/", ""))
      }
  })
  it("hardens the platform's containers and gives them time to stop", () => {
    for (const service of platforms) {
      assert.isTrue(service["read_only"])
      assert.deepStrictEqual(service["cap_drop"], ["ALL"])
      assert.isAtLeast(Number.parseInt(service["stop_grace_period"], 10), 30)
    }
    assert.isTrue(compose["networks"].stores.internal)
  })
})

describe("the Kubernetes manifests", () => {
  it("are a Deployment, a Service, a disruption budget and an autoscaler for each role", () => {
    for (const kind of ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"])
      assert.deepStrictEqual(
        ofKind(kind)
          .map(({ metadata }) => metadata.name)
          .sort(),
        ["tributary-api", "tributary-worker"],
        kind
      )
  })
  it("are all listed where they are applied from", () =>
    assert.deepStrictEqual(
      [...ofKind("Kustomization")[0]!["resources"], "kustomization.yaml"].sort(),
      readdirSync(new URL("infra/container/kubernetes/", root)).sort()
    ))
  it("set variables that exist, the role among them, and all that the distributed form needs", () => {
    for (const deployment of deployments) {
      const names = environmentOf(deployment)
      assert.deepStrictEqual(
        names.filter((name) => !known.has(name)),
        []
      )
      assert.includeMembers(
        [...names],
        ["JOURNAL", "BUS", "READ_MODELS", "VAULT", "MASTER_KEY", "ROLE"].map((name) => `TRIBUTARY_${name}`)
      )
      const role = containerOf(deployment).env.find(({ name }: Any) => name === "TRIBUTARY_ROLE").value
      assert.strictEqual(deployment["metadata"].name, `tributary-${role}`)
    }
  })
  it("take every secret from the Secret that the documentation tells to make, by its keys", () => {
    for (const deployment of deployments)
      for (const { valueFrom } of containerOf(deployment).env.filter(({ valueFrom }: Any) => valueFrom !== undefined)) {
        assert.strictEqual(valueFrom.secretKeyRef.name, "tributary")
        assert.include(operations, `--from-file=${valueFrom.secretKeyRef.key}=`)
      }
  })
  it("run this release on the port that the image listens on", () => {
    assert.include(dockerfile, "TRIBUTARY_PORT=8080")
    for (const deployment of deployments) {
      const { image, ports } = containerOf(deployment)
      assert.strictEqual(image, `tributary:${manifest.version}`)
      assert.deepStrictEqual(ports, [{ name: "http", containerPort: 8080 }])
    }
    for (const service of platforms) assert.strictEqual(service["image"], `tributary:${manifest.version}`)
    for (const service of ofKind("Service")) assert.strictEqual(service["spec"].ports[0].targetPort, "http")
  })
  it("select the pods that they are about", () => {
    for (const deployment of deployments) {
      const { labels } = deployment["spec"].template.metadata
      const name = deployment["metadata"].name
      const selector = (kind: string) => ofKind(kind).find(({ metadata }) => metadata.name === name)!["spec"].selector
      assert.deepStrictEqual(deployment["spec"].selector.matchLabels, labels)
      assert.deepStrictEqual(selector("Service"), labels)
      assert.deepStrictEqual(selector("PodDisruptionBudget").matchLabels, labels)
      assert.strictEqual(
        ofKind("HorizontalPodAutoscaler").find(({ metadata }) => metadata.name === name)!["spec"].scaleTargetRef.name,
        name
      )
    }
  })
  it("ask for life and readiness where the server answers both, and give a stop its time", () => {
    const server = read("infra/http/server.ts")
    for (const deployment of deployments) {
      const { startupProbe, livenessProbe, readinessProbe, lifecycle } = containerOf(deployment)
      assert.deepStrictEqual(
        [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path),
        ["/healthz", "/healthz", "/readyz"]
      )
      for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) assert.include(server, `"${httpGet.path}"`)
      const before = lifecycle?.preStop.sleep.seconds ?? 0
      assert.isAtLeast(podOf(deployment).terminationGracePeriodSeconds, 30 + before)
    }
  })
  it("let a pod do nothing that it need not", () => {
    for (const deployment of deployments) {
      assert.isTrue(podOf(deployment).securityContext.runAsNonRoot)
      assert.deepStrictEqual(containerOf(deployment).securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] }
      })
    }
  })
  it("scale workers by a metric that exists", () => {
    const worker = ofKind("HorizontalPodAutoscaler").find(({ metadata }) => metadata.name === "tributary-worker")!
    const names = worker["spec"].metrics.filter(({ type }: Any) => type === "Pods").map(({ pods }: Any) => pods.metric.name)
    assert.deepStrictEqual(names, ["tributary_work_ready"])
    assert.isTrue(metrics.has(names[0]))
  })
})

/** Names of metrics with the label values that they can have, where these are told in one place. */
const sources = ["infra/figures.ts", "infra/metrics.ts", "infra/http/serve.ts"].map(read).join("\n")
const metrics = new Set(
  [...sources.matchAll(/(?:gauge|counter|counterBy)\("(\w+)"|name: "(\w+)"/gu)].map(([, by, named]) => `tributary_${by ?? named}`)
)
const outcomes: Readonly<Record<string, string>> = {
  tributary_runs_total: "services/runner.ts",
  tributary_routed_total: "services/router.ts",
  tributary_ingest_total: "infra/figures.ts",
  tributary_http_requests_total: "infra/http/serve.ts"
}

describe("the alerts", () => {
  const rules = (parse(read("infra/container/alerts.yaml")) as Any)["groups"].flatMap((group: Any) => group["rules"]) as ReadonlyArray<Any>
  it("use metrics that exist, with labels that they have", () => {
    for (const { alert, expr } of rules) {
      const used = [...(expr as string).matchAll(/tributary_\w+/gu)].map(([name]) => name)
      assert.isNotEmpty(used, alert)
      for (const name of used) assert.isTrue(metrics.has(name), `${alert}: ${name}`)
      for (const [, name, value] of (expr as string).matchAll(/(tributary_\w+)\{\w+="(\w+)"\}/gu))
        assert.match(read(outcomes[name!]!), new RegExp(`\\b${value}\\b`, "u"), alert)
    }
  })
  it("each have a section in the runbook that they name, and a severity", () => {
    for (const { alert, annotations, labels } of rules) {
      assert.include(operations, `\n### ${alert}\n`)
      assert.strictEqual(annotations.runbook, `docs/operations.md#${alert.toLowerCase()}`)
      assert.include(["page", "ticket", "info"], labels.severity)
    }
  })
  it("leave no section of the runbook without its alert", () =>
    assert.deepStrictEqual(
      [...operations.matchAll(/^### (Tributary\w+)$/gmu)].map(([, name]) => name).sort(),
      rules.map(({ alert }) => alert).sort()
    ))
})

describe("docs/operations.md", () => {
  const table = [...operations.matchAll(/^\| `(TRIBUTARY_\w+)`/gmu)].map(([, name]) => name)
  it("tells every variable that a process reads, and no other", () => assert.deepStrictEqual(table.sort(), [...known].sort()))
  it("names files that exist", () => {
    for (const [, path] of operations.matchAll(/`((?:infra|bench|test|adapters|docs)\/[\w./-]+)`/gu))
      assert.isTrue(existsSync(new URL(path!, root)), path)
  })
  it("says what was not built or run on a real server", () => {
    assert.include(operations, "was not built")
    assert.match(operations, /^## What was not run here$/mu)
  })
})
