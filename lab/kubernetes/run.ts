// Puts every overlay to a real control plane:
//   node lab/kubernetes/run.ts
// The API server takes every object under strict validation; controllers and scheduler do what they would do; nodes and kubelets are
// simulated (kwok), so no image runs. What it prints stands in docs/kubernetes.md.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseAllDocuments } from "yaml";
import { type Doc, nameOf, parseDocuments } from "../../deploy/checks/documents.ts";
import { findKustomize } from "../../deploy/checks/kustomize.ts";
import { root } from "../../deploy/images/roles.ts";
import type { Answer, KubernetesClient, KubernetesObject } from "./client.ts";
import { startControlPlane } from "./control-plane.ts";
import { startMetricSource } from "./metric-source.ts";
import { definitionFiles, moduleFolder } from "./modules.ts";

const kustomize = findKustomize();
if ("missing" in kustomize) throw new Error(kustomize.missing);
const build = (overlay: string): Doc[] => parseDocuments(kustomize.build(join(root, "deploy/k8s/overlays", overlay)));
const roles = ["gateway", "encoder", "decoder"];
const waitMsMax = 120_000; // Controllers need seconds; a busy machine takes longer.

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + waitMsMax;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`Waited in vain until ${what}.`);
    await sleep(100);
  }
}

await using plane = await startControlPlane();
const { client } = plane;
const version = (await client.get("/version")).gitVersion;
console.log(`Kubernetes ${version}: API server, controllers, scheduler, and nodes by kwok\n`);

await installDefinitions(client);
await createNodes(client);

console.log("| overlay | objects | refused under strict validation |\n| --- | --- | --- |");
for (const overlay of readdirSync(join(root, "deploy/k8s/overlays"))) {
  const docs = build(overlay);
  const refused = await applyAll(client, docs, true);
  console.log(`| ${overlay} | ${docs.length} | ${refused.length} |`);
  assert.deepEqual(refused, []);
}
await refusesMistakes(client);

assert.deepEqual(await applyAll(client, build("production"), false), []);
// A Deployment begins with one pod; KEDA raises it to the least that it names.
for (const role of roles) {
  const path = `/apis/apps/v1/namespaces/florence/deployments/${role}/scale`;
  const { status } = await client.send("PATCH", path, { spec: { replicas: 2 } }, "application/merge-patch+json");
  assert.equal(status, 200);
}
await until("all pods run", async () => (await pods(client)).filter(isReady).length >= 11);
console.log(
  `\nproduction: ${(await pods(client)).filter(isReady).length} pods admitted under Pod Security "restricted" and ready`,
);
await showSpread(client);
await rollOut(client, "encoder");
await drain(client);
await scale(client, "encoder");
await scale(client, "decoder");

async function installDefinitions(client: KubernetesClient): Promise<void> {
  const names: string[] = [];
  for (const [module, path] of definitionFiles) {
    const text = readFileSync(join(moduleFolder(module), path), "utf8").replace(/^.*\{\{.*\n/gm, "");
    for (const document of parseAllDocuments(text)) {
      const definition = document.toJS() as KubernetesObject;
      const { status, body } = await client.apply(definition);
      assert.ok(status < 300, body.message);
      names.push(definition.metadata.name);
    }
  }
  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  await until("the definitions are served", async () => {
    const { items } = await client.get(path);
    const served = items.filter((item: Answer["body"]) =>
      item.status?.conditions?.some((one: Answer["body"]) => one.type === "Established" && one.status === "True"),
    );
    return names.every((name) => served.some((item: Answer["body"]) => item.metadata.name === name));
  });
}

/** Six nodes in three zones, two of them with accelerators; and volumes for NATS, since nobody provisions any here. */
async function createNodes(client: KubernetesClient): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const name = `node-${i}`;
    const labels = { "topology.kubernetes.io/zone": `zone-${i % 3}`, "kubernetes.io/hostname": name };
    const resources = { cpu: "16", memory: "64Gi", pods: "110" };
    const node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels },
      status: { allocatable: resources, capacity: resources },
    };
    assert.equal((await client.send("POST", "/api/v1/nodes", node)).status, 201);
  }
  for (let i = 0; i < 3; i++) {
    const spec = { capacity: { storage: "20Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/data" } };
    await client.apply({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: `volume-${i}` },
      spec,
    } as KubernetesObject);
  }
  await until("nodes are ready", async () => {
    const { items } = await client.get("/api/v1/nodes");
    return items.length === 6 && items.every(isReady);
  });
}

/** Applies objects, namespaces first; gives what was refused and why. A dry run first makes the namespace, which the rest lies in. */
async function applyAll(client: KubernetesClient, docs: readonly Doc[], dryRun: boolean): Promise<string[]> {
  const refused: string[] = [];
  for (const doc of [...docs].sort((a, b) => Number(b.kind === "Namespace") - Number(a.kind === "Namespace"))) {
    const { status, body } = await client.apply(doc, dryRun && doc.kind !== "Namespace");
    if (status >= 300) refused.push(`${nameOf(doc)}: ${body.message ?? status}`);
  }
  return refused;
}

/** The check itself is checked: what is wrong is refused. */
async function refusesMistakes(client: KubernetesClient): Promise<void> {
  const find = (name: string) =>
    structuredClone(build("production").find((doc) => nameOf(doc) === name)) as Answer["body"];
  const deployment = find("Deployment/encoder");
  deployment.spec.template.spec.containers[0].resurces = {};
  const scaled = find("ScaledObject/encoder");
  scaled.spec.minReplicaCuont = 1;
  for (const object of [deployment, scaled]) {
    const { status, body } = await client.apply(object, true);
    assert.ok(status >= 400, `${nameOf(object)} was taken`);
    console.log(`\nrefused as it should be: ${body.message}`);
  }
}

async function pods(client: KubernetesClient, component?: string): Promise<Answer["body"][]> {
  const query = component ? `?labelSelector=app.kubernetes.io/component%3D${component}` : "";
  return (await client.get(`/api/v1/namespaces/florence/pods${query}`)).items;
}

function isReady(object: Answer["body"]): boolean {
  const ready = object.status?.conditions?.some((one: Answer["body"]) => one.type === "Ready" && one.status === "True");
  return Boolean(ready) && object.metadata.deletionTimestamp === undefined;
}

async function showSpread(client: KubernetesClient): Promise<void> {
  const zoneOf = (pod: Answer["body"]) => `zone-${Number(pod.spec.nodeName.split("-")[1]) % 3}`;
  console.log("\n| pods of | nodes | zones |\n| --- | --- | --- |");
  for (const component of [...roles, "nats"]) {
    const items = await pods(client, component);
    const [nodes, zones] = [new Set(items.map((pod) => pod.spec.nodeName)), new Set(items.map(zoneOf))];
    console.log(`| ${component} (${items.length}) | ${nodes.size} | ${zones.size} |`);
    assert.equal(nodes.size, items.length);
    assert.ok(zones.size >= Math.min(items.length, 3) - 1);
  }
}

/** Runs something while it looks how many of a role's pods are ready; gives the least. */
async function leastReady(client: KubernetesClient, component: string, work: () => Promise<void>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  let done = false;
  const watch = (async () => {
    while (!done) {
      least = Math.min(least, (await pods(client, component)).filter(isReady).length);
      await sleep(20);
    }
  })();
  await work();
  done = true;
  await watch;
  return least;
}

async function rollOut(client: KubernetesClient, component: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/florence/deployments/${component}`;
  const before = (await pods(client, component)).map((pod) => pod.metadata.name);
  const least = await leastReady(client, component, async () => {
    const annotations = { "lab/rolled": "once" };
    await client.send(
      "PATCH",
      path,
      { spec: { template: { metadata: { annotations } } } },
      "application/merge-patch+json",
    );
    await until(`${component} is rolled out`, async () => {
      const { spec, status, metadata } = await client.get(path);
      const items = await pods(client, component);
      const old = items.filter((pod) => before.includes(pod.metadata.name));
      return (
        old.length === 0 &&
        status.observedGeneration === metadata.generation &&
        status.updatedReplicas === (spec.replicas ?? 1)
      );
    });
  });
  console.log(`\nrollout of ${component}: all ${before.length} pods replaced, never fewer than ${least} ready`);
  assert.ok(least >= before.length);
}

/** Cordons a node and evicts what is on it, as kubectl drain does. */
async function drain(client: KubernetesClient): Promise<void> {
  const all = await pods(client);
  // Everything of one role on one node is the worst case, so a second encoder is moved to where the first is.
  const node = all.find((pod) => pod.metadata.labels["app.kubernetes.io/component"] === "encoder").spec.nodeName;
  const victims = all.filter((pod) => pod.spec.nodeName === node);
  let refusals = 0;
  const least = await leastReady(client, "encoder", async () => {
    await client.send(
      "PATCH",
      `/api/v1/nodes/${node}`,
      { spec: { unschedulable: true } },
      "application/merge-patch+json",
    );
    for (const { metadata } of victims) {
      const eviction = {
        apiVersion: "policy/v1",
        kind: "Eviction",
        metadata: { name: metadata.name, namespace: "florence" },
      };
      await until(`${metadata.name} may go`, async () => {
        const { status } = await client.send(
          "POST",
          `/api/v1/namespaces/florence/pods/${metadata.name}/eviction`,
          eviction,
        );
        if (status === 429) refusals++;
        return status < 300 || status === 404;
      });
    }
    await until("what was evicted runs elsewhere", async () => {
      const items = await pods(client);
      return items.filter(isReady).length === all.length && items.every((pod) => pod.spec.nodeName !== node);
    });
  });
  await client.send(
    "PATCH",
    `/api/v1/nodes/${node}`,
    { spec: { unschedulable: false } },
    "application/merge-patch+json",
  );
  console.log(
    `\ndrain of a node with ${victims.length} pods: done; budgets held an eviction back ${refusals} times, never fewer than ${least} encoders ready`,
  );
  assert.ok(least >= 1);
}

/**
 * KEDA makes an autoscaler of a ScaledObject and answers for its metrics. Here the lab does both: the autoscaler is made as KEDA makes
 * it, and the controller asks a source whose numbers are set by hand.
 */
async function scale(client: KubernetesClient, component: string): Promise<void> {
  await using source = await startMetricSource(client);
  const scaled = build("production").find((doc) => nameOf(doc) === `ScaledObject/${component}`)?.spec as Answer["body"];
  const metrics = scaled.triggers.map((trigger: Answer["body"], i: number) => {
    const target =
      trigger.metricType === "Value"
        ? { type: "Value", value: trigger.metadata.threshold }
        : { type: "AverageValue", averageValue: trigger.metadata.threshold };
    return { type: "External", external: { metric: { name: `s${i}-${component}-${trigger.name}` }, target } };
  });
  const behavior = structuredClone(scaled.advanced.horizontalPodAutoscalerConfig.behavior);
  // Minutes are for clusters.
  behavior.scaleDown.stabilizationWindowSeconds = 2;
  behavior.scaleDown.policies[0].periodSeconds = 1;
  for (const policy of behavior.scaleUp.policies) policy.periodSeconds = 1;
  const spec = {
    scaleTargetRef: scaled.scaleTargetRef,
    minReplicas: scaled.minReplicaCount,
    maxReplicas: scaled.maxReplicaCount,
    metrics,
    behavior,
  };
  const hpa = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: `keda-hpa-${component}`, namespace: "florence" },
    spec,
  };
  const { status, body } = await client.apply(hpa);
  assert.ok(status < 300, body.message);
  const count = async () => (await pods(client, component)).filter(isReady).length;
  const steps: string[] = [];
  for (const [wait, waiting, expected] of [
    [0.1, 0, 2],
    // Twice the wait that is allowed.
    [1, 0, 4],
    // 28 wait, four each.
    [0.1, 28, 7],
    [0, 0, 2],
  ] as const) {
    source.set({ [`s0-${component}-wait`]: wait, [`s1-${component}-waiting`]: waiting });
    const grows = expected > (await count());
    await until(`${component} are ${expected}`, async () =>
      grows ? (await count()) >= expected : (await count()) === expected,
    );
    if (grows) source.set({ [`s0-${component}-wait`]: 0.5, [`s1-${component}-waiting`]: 4 * (await count()) });
    steps.push(`wait ${wait} s, ${waiting} waiting: ${await count()}`);
  }
  console.log(`\n${component}s by their own metrics: ${steps.join("; ")}`);
}
