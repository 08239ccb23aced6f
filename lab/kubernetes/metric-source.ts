import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { KubernetesClient, KubernetesObject } from "./client.ts";

/** An external.metrics.k8s.io of numbers that are set by hand, in the place that KEDA's has. */
export interface MetricSource extends AsyncDisposable {
  set(values: Readonly<Record<string, number>>): void;
}

const namespace = "florence";

/** Serves metrics and registers them with the API server. Needs openssl, for a certificate that nobody checks. */
export async function startMetricSource(client: KubernetesClient): Promise<MetricSource> {
  await using resources = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "florence-metrics-"));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=metrics"];
  execFileSync("openssl", ["req", ...subject, "-keyout", keyFile, "-out", certFile], { stdio: "ignore" });
  let values: Readonly<Record<string, number>> = {};
  const server = createServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) }, (request, response) => {
    const name = /\/namespaces\/[^/]+\/([^/?]+)/.exec(request.url ?? "")?.[1];
    const list = {
      kind: "APIResourceList",
      apiVersion: "v1",
      groupVersion: "external.metrics.k8s.io/v1beta1",
      resources: [],
    };
    const item = { metricName: name, timestamp: new Date().toISOString(), value: String(values[name ?? ""] ?? 0) };
    const found = {
      kind: "ExternalMetricValueList",
      apiVersion: "external.metrics.k8s.io/v1beta1",
      metadata: {},
      items: [item],
    };
    response.setHeader("content-type", "application/json").end(JSON.stringify(name === undefined ? list : found));
  });
  // Endpoints may not be on loopback, so it listens on the machine's own address, for as long as this takes.
  const address = Object.values(networkInterfaces())
    .flat()
    .find((one) => one && !one.internal && one.family === "IPv4")?.address;
  if (address === undefined) throw new Error("This machine has no address but loopback.");
  server.listen(0, address);
  await once(server, "listening");
  resources.defer(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  const { port } = server.address() as { port: number };
  const metadata = { name: "metric-source", namespace };
  const service = { apiVersion: "v1", kind: "Service", metadata, spec: { ports: [{ port: 443, targetPort: port }] } };
  const endpoints = { addresses: [address], conditions: { ready: true } };
  const labels = { "kubernetes.io/service-name": "metric-source" };
  const slice = {
    ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { ...metadata, labels } },
    ...{ addressType: "IPv4", endpoints: [endpoints], ports: [{ name: "", port, protocol: "TCP" }] },
  };
  const api = {
    apiVersion: "apiregistration.k8s.io/v1",
    kind: "APIService",
    metadata: { name: "v1beta1.external.metrics.k8s.io" },
    spec: {
      ...{ group: "external.metrics.k8s.io", version: "v1beta1", groupPriorityMinimum: 100, versionPriority: 100 },
      ...{ insecureSkipTLSVerify: true, service: { name: "metric-source", namespace } },
    },
  };
  for (const object of [service, slice, api] as KubernetesObject[]) {
    const { status, body } = await client.apply(object);
    if (status >= 300) throw new Error(`${object.kind}: ${body.message}`);
  }
  for (let tries = 0; ; tries++) {
    const { status } = await client.send("GET", "/apis/external.metrics.k8s.io/v1beta1");
    if (status === 200) break;
    if (tries > 300) throw new Error("The API server does not reach the source of metrics.");
    await sleep(100);
  }
  const running = resources.move();
  return {
    set: (next) => {
      values = next;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
