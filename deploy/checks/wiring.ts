import {
  type Check,
  containersOf,
  type Doc,
  matches,
  nameOf,
  ofKind,
  type Probe,
  podOf,
  portNumber,
  type Selector,
  selected,
  type Workload,
  workloadsOf,
} from "./documents.ts";
import { environmentOf, roleOf } from "./environment.ts";

interface ServiceSpec {
  readonly selector?: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly targetPort?: string | number }[];
}

/** Whatever selects pods selects some, and a workload selects its own. */
export const selectorsMatch: Check = (docs) => {
  const selectors: [Doc, Selector][] = [
    ...ofKind<ServiceSpec>(docs, "Service").map((doc): [Doc, Selector] => [
      doc,
      { matchLabels: doc.spec.selector ?? {} },
    ]),
    ...["PodDisruptionBudget", "PodMonitor"].flatMap((kind) =>
      ofKind<{ selector: Selector }>(docs, kind).map((doc): [Doc, Selector] => [doc, doc.spec.selector]),
    ),
    ...ofKind<{ podSelector: Selector }>(docs, "NetworkPolicy").map((doc): [Doc, Selector] => [
      doc,
      doc.spec.podSelector,
    ]),
  ];
  const nothing = selectors.filter(([, selector]) => selected(docs, selector).length === 0);
  const strangers = workloadsOf(docs).flatMap((workload) => {
    const { labels } = workload.spec.template.metadata;
    const spread = (podOf(workload).topologySpreadConstraints ?? []).map(({ labelSelector }) => labelSelector ?? {});
    return [workload.spec.selector, ...spread].every((selector) => matches(selector, labels)) ? [] : [workload];
  });
  return [
    ...nothing.map(([doc]) => `${nameOf(doc)}: selects no pod`),
    ...strangers.map((doc) => `${nameOf(doc)}: does not select its own pods`),
  ];
};

/** Every port that is named or given is one that a container has. */
export const portsMatch: Check = (docs) => {
  const services = ofKind<ServiceSpec>(docs, "Service").flatMap((doc) =>
    selected(docs, { matchLabels: doc.spec.selector ?? {} }).flatMap((workload) =>
      doc.spec.ports
        .filter(({ port, targetPort = port }) => portNumber(podOf(workload), targetPort) === undefined)
        .map(({ port, targetPort = port }) => `${nameOf(doc)}: ${nameOf(workload)} has no port ${targetPort}`),
    ),
  );
  const probes = workloadsOf(docs).flatMap((workload) =>
    podOf(workload).containers.flatMap(({ startupProbe, readinessProbe, livenessProbe }) =>
      [startupProbe, readinessProbe, livenessProbe]
        .map((probe) => probe?.httpGet?.port ?? probe?.grpc?.port)
        .filter((port) => port !== undefined && portNumber(podOf(workload), port) === undefined)
        .map((port) => `${nameOf(workload)}: a probe asks port ${port}, which no container has`),
    ),
  );
  return [...services, ...probes, ...policyPorts(docs), ...backendPorts(docs)];
};

interface Peer {
  readonly podSelector?: Selector;
}
interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly { readonly port?: string | number }[];
}

/** Named ports of network policies: those of the pods that are reached. */
function policyPorts(docs: readonly Doc[]): string[] {
  type Policy = { podSelector: Selector; ingress?: readonly Rule[]; egress?: readonly Rule[] };
  return ofKind<Policy>(docs, "NetworkPolicy").flatMap((doc) => {
    const named = ({ ports = [] }: Rule) => ports.flatMap(({ port }) => (typeof port === "string" ? [port] : []));
    const missing = (selector: Selector, port: string) =>
      selected(docs, selector).some((workload) => portNumber(podOf(workload), port) !== undefined)
        ? []
        : [`${nameOf(doc)}: no pod that it means has a port ${port}`];
    const ingress = (doc.spec.ingress ?? []).flatMap((rule) =>
      named(rule).flatMap((port) => missing(doc.spec.podSelector, port)),
    );
    const egress = (doc.spec.egress ?? []).flatMap((rule) =>
      named(rule).flatMap((port) => (rule.to ?? []).flatMap(({ podSelector = {} }) => missing(podSelector, port))),
    );
    return [...ingress, ...egress];
  });
}

/** Ports of Services that routes send to. */
function backendPorts(docs: readonly Doc[]): string[] {
  const services = new Map(ofKind<ServiceSpec>(docs, "Service").map((doc) => [doc.metadata.name, doc.spec.ports]));
  const missing = (doc: Doc, name: string, port: string | number) =>
    services.get(name)?.some((one) => one.name === port || one.port === port)
      ? []
      : [`${nameOf(doc)}: no Service ${name} with port ${port}`];
  type Route = { rules: readonly { backendRefs: readonly { name: string; port: number }[] }[] };
  type Backend = { service: { name: string; port: { name?: string; number?: number } } };
  type IngressSpec = { rules: readonly { http: { paths: readonly { backend: Backend }[] } }[] };
  return [
    ...ofKind<Route>(docs, "HTTPRoute").flatMap((doc) =>
      doc.spec.rules.flatMap((rule) => rule.backendRefs.flatMap(({ name, port }) => missing(doc, name, port))),
    ),
    ...ofKind<IngressSpec>(docs, "Ingress").flatMap((doc) =>
      doc.spec.rules.flatMap((rule) =>
        rule.http.paths.flatMap(({ backend: { service } }) =>
          missing(doc, service.name, service.port.name ?? service.port.number ?? 0),
        ),
      ),
    ),
  ];
}

const portSettings = { gateway: "PORT", encoder: "FLORENCE_ENCODER_PORT", decoder: "FLORENCE_DECODER_PORT" } as const;

/** Services listen where their ports say, gateways look where services are, and all outside of loopback. */
export const addressesMatch: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) =>
    podOf(workload).containers.flatMap((container) => {
      const role = roleOf(container);
      if (role === undefined) return [];
      const env = environmentOf(docs, container);
      const complaints: string[] = [];
      const named = role === "gateway" ? "http" : "grpc";
      const port = portNumber(podOf(workload), named);
      if (String(port) !== env[portSettings[role]])
        complaints.push(`listens on ${env[portSettings[role]]}, and its port ${named} is ${port}`);
      const host = env[role === "gateway" ? "FLORENCE_HOST" : `FLORENCE_${role.toUpperCase()}_HOST`];
      if (host !== "0.0.0.0" && host !== "::") complaints.push("listens on loopback only");
      for (const name of role === "gateway" ? ["FLORENCE_ENCODER", "FLORENCE_DECODER"] : []) {
        const [service, at] = (env[name] ?? "").split(":");
        const found = ofKind<ServiceSpec>(docs, "Service").find((doc) => doc.metadata.name === service);
        if (!found?.spec.ports.some((one) => String(one.port) === at))
          complaints.push(`${name}=${env[name]} is no Service with that port`);
        else if ((found.spec as { clusterIP?: string }).clusterIP !== "None")
          complaints.push(`${name}=${env[name]} has one address for all pods: it has to be headless`);
      }
      const metrics = env.FLORENCE_METRICS_PORT;
      if (metrics !== undefined && String(portNumber(podOf(workload), "metrics")) !== metrics)
        complaints.push(`serves metrics on ${metrics}, and its port metrics is another`);
      return complaints.map((complaint) => `${nameOf(workload)}: ${complaint}`);
    }),
  );

const typeNames = ["Encoder", "Decoder"].map((name) => `florence.v1.${name}`);

/** Each role is asked what it answers: routes of the gateway, health names of the others; and liveness asks nobody else. */
export const probesFit: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) =>
    podOf(workload).containers.flatMap((container) => {
      if (container.name === "reloader") return []; // Listens to nothing.
      const { startupProbe, readinessProbe, livenessProbe } = container;
      const complaints: string[] = [];
      if (!readinessProbe) complaints.push("has no readiness probe");
      if (!livenessProbe) complaints.push("has no liveness probe");
      const role = roleOf(container);
      if (role !== undefined && !startupProbe) complaints.push("has no startup probe");
      if (role === "gateway") {
        if (readinessProbe?.httpGet?.path !== "/readyz") complaints.push("readiness of a gateway is /readyz");
        if (livenessProbe?.httpGet?.path !== "/healthz") complaints.push("liveness of a gateway is /healthz");
      } else if (role !== undefined) {
        const name = typeNames.find((one) => one.toLowerCase().endsWith(role));
        for (const [what, probe] of Object.entries({ startup: startupProbe, readiness: readinessProbe }))
          if (probe?.grpc?.service !== name) complaints.push(`${what} of a ${role} is the gRPC health of ${name}`);
        if (!livenessProbe?.grpc || livenessProbe.grpc.service)
          complaints.push(`liveness of a ${role} is the gRPC health of its process`);
        complaints.push(...healthPort(environmentOf(docs, container), [startupProbe, readinessProbe, livenessProbe]));
      }
      return complaints.map((complaint) => `${nameOf(workload)}: ${complaint}`);
    }),
  );

/** A kubelet speaks no TLS, so with certificates it has to ask the port without. */
function healthPort(env: Readonly<Record<string, string>>, probes: readonly (Probe | undefined)[]): string[] {
  if (env.FLORENCE_TLS_CERT === undefined) return [];
  const wrong = probes.some((probe) => probe?.grpc && String(probe.grpc.port) !== env.FLORENCE_HEALTH_PORT);
  return wrong ? ["with TLS, probes have to ask FLORENCE_HEALTH_PORT"] : [];
}

/** Every volume that is mounted is there, and what reads a model has one. */
export const volumesExist: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) => {
    const pod = podOf(workload);
    const claims = (workload.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
    const names = new Set([...(pod.volumes ?? []).map(({ name }) => name), ...claims]);
    const mounted = containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts);
    const missing = mounted.filter(({ name }) => !names.has(name)).map(({ name }) => `no volume ${name}`);
    const blind = pod.containers.filter((container) => {
      const model = environmentOf(docs, container).FLORENCE_MODEL;
      return model !== undefined && !container.volumeMounts?.some(({ mountPath }) => mountPath === model);
    });
    const model = blind.map(() => "nothing is mounted where FLORENCE_MODEL is");
    return [...missing, ...model].map((complaint) => `${nameOf(workload)}: ${complaint}`);
  });

/** What a document names of others is there: accounts, priority classes, a StatefulSet's Service. */
export const namesExist: Check = (docs) => {
  const has = (kind: string, name: string) => docs.some((doc) => doc.kind === kind && doc.metadata.name === name);
  return workloadsOf(docs).flatMap((workload: Workload) => {
    const { serviceAccountName = "default", priorityClassName } = podOf(workload);
    const wanted: [string, string | undefined][] = [
      ["ServiceAccount", serviceAccountName],
      ["PriorityClass", priorityClassName],
      ["Service", workload.spec.serviceName],
    ];
    return wanted
      .filter(([kind, name]) => name !== undefined && !has(kind, name))
      .map(([kind, name]) => `${nameOf(workload)}: no ${kind} ${name}`);
  });
};
