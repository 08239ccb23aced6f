import { decoderSpecs } from "@florence/decoder/config";
import { encoderSpecs } from "@florence/encoder/config";
import { gatewayConfig } from "@florence/gateway/config";
import { type ConfigSpec, describeConfig, readConfig } from "@florence/service";
import { readDockerfile } from "./dockerfile.ts";
import {
  type Check,
  type Container,
  containersOf,
  type Doc,
  nameOf,
  ofKind,
  podOf,
  quantity,
  workloadsOf,
} from "./documents.ts";

const specs: Readonly<Record<string, readonly ConfigSpec[]>> = {
  gateway: [gatewayConfig],
  encoder: Object.values(encoderSpecs),
  decoder: Object.values(decoderSpecs),
};

// Settings of what the manifests expect of the services beside their own lists.
const others = new Set([
  ...["FLORENCE_METRICS_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_SAMPLER"],
  ...["OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "NODE_ENV", "HOME"],
  ...["FLORENCE_CLUSTER_SECRET", "FLORENCE_TLS_CERT", "FLORENCE_TLS_KEY", "FLORENCE_TLS_CA"],
  ...["FLORENCE_TLS_SERVER_NAME", "FLORENCE_HEALTH_PORT"],
]);
const otherSecrets = new Set(["FLORENCE_CLUSTER_SECRET"]);

/** The secrets that people or other systems make, with their keys. docs/deploy.md says how. */
export const outsideSecrets: Readonly<Record<string, readonly string[]>> = {
  "florence-secrets": ["id-secret", "cluster-secret"],
  "florence-nats": ["encoder-password", "decoder-password"],
  "florence-web-tls": ["tls.crt", "tls.key"],
};

/** The role whose image a container runs, or undefined. */
export function roleOf({ image }: Container): "gateway" | "encoder" | "decoder" | undefined {
  const role = /(?:^|\/)florence[-/](gateway|encoder|decoder)(?:[:@]|$)/.exec(image)?.[1];
  return role as ReturnType<typeof roleOf>;
}

/** Settings that the specs of a role declare, and those of what it shares with all. */
function variablesOf(role: string): Map<string, string> {
  const rows = (specs[role] ?? []).flatMap(describeConfig);
  return new Map(rows.map(({ variable, kind }) => [variable, kind]));
}

// Long enough for every rule about secrets.
const someSecret = "x".repeat(64);

/** The environment that a container's process finds, its image's included. References that lead nowhere are left out. */
export function environmentOf(docs: readonly Doc[], container: Container): Record<string, string> {
  const role = roleOf(container);
  const env: Record<string, string> = role ? { ...readDockerfile(role).env } : {};
  const maps = new Map(
    docs.filter(({ kind }) => kind === "ConfigMap").map((doc) => [doc.metadata.name, doc.data ?? {}]),
  );
  for (const { configMapRef } of container.envFrom ?? []) Object.assign(env, maps.get(configMapRef?.name ?? ""));
  for (const { name, value, valueFrom } of container.env ?? []) {
    const { configMapKeyRef, resourceFieldRef, secretKeyRef } = valueFrom ?? {};
    const found = configMapKeyRef
      ? maps.get(configMapKeyRef.name)?.[configMapKeyRef.key]
      : resourceFieldRef
        ? String(Math.ceil(quantity(container.resources?.limits?.[resourceFieldRef.resource.replace(/^limits\./, "")])))
        : secretKeyRef
          ? someSecret
          : value;
    if (found !== undefined) env[name] = found;
  }
  return env;
}

/** Every variable of our services is a setting that they have, with a value that they take; secrets come from secrets alone. */
export const settingsExist: Check = (docs) =>
  workloadsOf(docs).flatMap((workload) =>
    podOf(workload).containers.flatMap((container) => {
      const role = roleOf(container);
      if (role === undefined) return [];
      const where = nameOf(workload);
      const declared = variablesOf(role);
      const env = environmentOf(docs, container);
      const unknown = Object.keys(env)
        .filter((name) => !declared.has(name) && !others.has(name))
        .map((name) => `${where}: ${name} is no setting of the ${role}`);
      const fromSecrets = new Set(
        (container.env ?? []).filter(({ valueFrom }) => valueFrom?.secretKeyRef).map(({ name }) => name),
      );
      const open = Object.keys(env)
        .filter((name) => (declared.get(name) === "secret" || otherSecrets.has(name)) && !fromSecrets.has(name))
        .map((name) => `${where}: ${name} is a secret and stands in the open`);
      return [...unknown, ...open, ...unusable(role, env).map((problem) => `${where}: ${problem}`)];
    }),
  );

function unusable(role: string, env: Readonly<Record<string, string>>): string[] {
  return (specs[role] ?? []).flatMap((spec) => {
    try {
      readConfig(env, spec);
      return [];
    } catch (error) {
      return (error as { problems?: readonly string[] }).problems ?? [String(error)];
    }
  });
}

/** Every ConfigMap and secret that a pod names exists, with that key. */
export const referencesExist: Check = (docs) => {
  const maps = new Map(ofData(docs, "ConfigMap"));
  const certificates = ofKind<{ secretName: string }>(docs, "Certificate");
  const secrets = new Map<string, readonly string[]>([
    ...Object.entries(outsideSecrets),
    ...certificates.map(({ spec }) => [spec.secretName, ["tls.crt", "tls.key", "ca.crt"]] as const),
    ...ofData(docs, "Secret"),
  ]);
  const missing = (known: Map<string, readonly string[]>, kind: string, name: string, key?: string): string[] => {
    const keys = known.get(name);
    if (keys === undefined) return [`no ${kind} ${name}`];
    return key === undefined || keys.includes(key) ? [] : [`${kind} ${name} has no key ${key}`];
  };
  return workloadsOf(docs).flatMap((workload) => {
    const pod = podOf(workload);
    const volumes = (pod.volumes ?? []).flatMap(({ configMap, secret }) => [
      ...(configMap ? missing(maps, "ConfigMap", configMap.name) : []),
      ...(secret ? missing(secrets, "Secret", secret.secretName) : []),
    ]);
    const variables = containersOf(pod).flatMap(({ env = [], envFrom = [] }) => [
      ...envFrom.flatMap(({ configMapRef, secretRef }) => [
        ...(configMapRef ? missing(maps, "ConfigMap", configMapRef.name) : []),
        ...(secretRef ? missing(secrets, "Secret", secretRef.name) : []),
      ]),
      ...env.flatMap(({ valueFrom: { secretKeyRef, configMapKeyRef } = {} }) => [
        ...(secretKeyRef ? missing(secrets, "Secret", secretKeyRef.name, secretKeyRef.key) : []),
        ...(configMapKeyRef ? missing(maps, "ConfigMap", configMapKeyRef.name, configMapKeyRef.key) : []),
      ]),
    ]);
    return [...volumes, ...variables].map((complaint) => `${nameOf(workload)}: ${complaint}`);
  });
};

function ofData(docs: readonly Doc[], kind: string): [string, readonly string[]][] {
  return docs
    .filter((doc) => doc.kind === kind)
    .map(({ metadata, data, stringData }) => [metadata.name, Object.keys({ ...data, ...stringData })]);
}
