// The manifests of deploy/k8s are held to the code: every overlay builds, every field exists, and what they say of ports, settings, probes
// and drains is what the services do. Then each check is shown the mistake that it is there for.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { findOrGetNatsServer } from "@florence/nats-server";
import { Decoder } from "@florence/proto/decoder";
import { Encoder } from "@florence/proto/encoder";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { beforeApply, checks, productionChecks } from "../deploy/checks/all.ts";
import { readDockerfile } from "../deploy/checks/dockerfile.ts";
import { type Doc, nameOf, parseDocuments } from "../deploy/checks/documents.ts";
import { settingsExist } from "../deploy/checks/environment.ts";
import { findKustomize } from "../deploy/checks/kustomize.ts";
import { metricsAsked } from "../deploy/checks/scale.ts";
import { roleNames } from "../deploy/images/roles.ts";
import { root } from "./support/services.ts";

const k8s = join(root, "deploy/k8s");
const overlays = readdirSync(join(k8s, "overlays"));
const components = readdirSync(join(k8s, "components"));
const work = mkdtempSync(join(tmpdir(), "florence-deploy-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const found = findKustomize();
const kustomize = "missing" in found ? undefined : found;
if ("missing" in found) process.stderr.write(`Not run: the checks of the manifests. ${found.missing}\n`);

const built = new Map<string, Doc[]>();
function overlay(name: string): Doc[] {
  const docs = built.get(name) ?? parseDocuments(kustomize?.build(join(k8s, "overlays", name)) ?? "");
  built.set(name, docs);
  return docs;
}

/** An overlay that is not kept: the base with some components and the local secrets and images. */
function combine(...names: string[]): Doc[] {
  const folder = mkdtempSync(join(work, "overlay-"));
  const path = (part: string) => relative(folder, join(k8s, part));
  const image = (name: string) => `  - { name: ${name}, newTag: test }`;
  const images = ["florence-gateway", "florence-encoder", "florence-decoder", "florence-model", "nats"];
  const text = [
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization",
    `resources: [${path("base")}]`,
    `components: [${names.map((name) => path(`components/${name}`)).join(", ")}]`,
    `images:\n${images.map(image).join("\n")}`,
  ].join("\n");
  writeFileSync(join(folder, "kustomization.yaml"), text);
  return parseDocuments(kustomize?.build(folder) ?? "");
}

const complaintsOf = (docs: readonly Doc[]) => Object.values(checks).flatMap((check) => check(docs));

describe.runIf(kustomize)("the manifests", () => {
  test.each(overlays)("overlay %s builds, and no check complains", (name) => {
    const docs = overlay(name);
    expect(docs.length).toBeGreaterThan(20);
    expect(complaintsOf(docs)).toEqual([]);
  });

  test("there is an overlay for one machine, for many, and for accelerators", () => {
    expect(overlays.sort()).toEqual(["local", "production", "production-gpu"]);
  });

  test("every component is part of what is checked", () => {
    const used = overlays.map((name) => readFileSync(join(k8s, "overlays", name, "kustomization.yaml"), "utf8")).join();
    expect(components.filter((name) => !used.includes(`components/${name}\n`))).toEqual([
      "external-nats",
      "ingress",
      "model-pvc",
    ]);
    expect(complaintsOf(combine("external-nats", "model-pvc", "ingress"))).toEqual([]);
  });

  test.each(["production", "production-gpu"])(
    "%s names every image by its digest, and says which to fill in",
    (name) => {
      const docs = overlay(name);
      expect(Object.values(productionChecks).flatMap((check) => check(docs))).toEqual([]);
      const left = beforeApply(docs).join("\n");
      for (const image of ["gateway", "encoder", "decoder", "nats", "opentelemetry-collector"])
        expect(left).toContain(image);
    },
  );

  test("nothing is left to be filled in for one machine", () => {
    expect(beforeApply(overlay("local"))).toEqual([]);
  });

  test("the health names that are asked are those of the services", () => {
    const text = JSON.stringify(overlay("production"));
    for (const name of [Encoder.typeName, Decoder.typeName]) expect(text).toContain(`"service":"${name}"`);
  });

  test("autoscalers ask for waits and queues of each stage", () => {
    expect(metricsAsked(overlay("production")).sort()).toEqual([
      "florence_decoder_calls_waiting",
      "florence_decoder_queue_wait_seconds_bucket",
      "florence_encoder_images_waiting",
      "florence_encoder_queue_wait_seconds_bucket",
    ]);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: a mistake may be of any kind.
type Loose = any;
type Mistake = {
  says: string;
  check: string;
  make: (find: (name: string) => Loose, docs: Loose[]) => void;
  caught: RegExp;
};

const container = (doc: Loose) => doc.spec.template.spec.containers[0];
const configOf = (docs: Loose[], name: string) =>
  docs.find((doc) => doc.kind === "ConfigMap" && doc.metadata.name.startsWith(name));

const mistakes: Mistake[] = [
  {
    says: "an unknown field",
    check: "every field is one that its kind has",
    make: (find) => {
      container(find("Deployment/encoder")).resurces = {};
    },
    caught: /^Deployment\/encoder: .*has no field resurces$/,
  },
  {
    says: "an unknown field of a kind that is not Kubernetes' own",
    check: "every field is one that its kind has",
    make: (find) => {
      find("ScaledObject/encoder").spec.minReplicaCuont = 2;
    },
    caught: /^ScaledObject\/encoder: .*has no field minReplicaCuont$/,
  },
  {
    says: "a text for a number",
    check: "every field is one that its kind has",
    make: (find) => {
      find("Deployment/gateway").spec.replicas = "2";
    },
    caught: /^Deployment\/gateway: \/spec\/replicas must be integer$/,
  },
  {
    says: "a Service that selects nothing",
    check: "selectors match pods",
    make: (find) => {
      find("Service/encoder").spec.selector["app.kubernetes.io/component"] = "encodr";
    },
    caught: /^Service\/encoder: selects no pod$/,
  },
  {
    says: "a wrong target port",
    check: "ports match",
    make: (find) => {
      find("Service/decoder").spec.ports[0].targetPort = "rpc";
    },
    caught: /^Service\/decoder: Deployment\/decoder has no port rpc$/,
  },
  {
    says: "a probe of a port that is not there",
    check: "ports match",
    make: (find) => {
      container(find("Deployment/gateway")).livenessProbe.httpGet.port = 8081;
    },
    caught: /^Deployment\/gateway: a probe asks port 8081/,
  },
  {
    says: "a network policy for a port that nobody has",
    check: "ports match",
    make: (find) => {
      find("NetworkPolicy/encoder").spec.ingress[0].ports[0].port = "grcp";
    },
    caught: /^NetworkPolicy\/encoder: .* port grcp$/,
  },
  {
    says: "a route to a port that the Service has not",
    check: "ports match",
    make: (find) => {
      find("HTTPRoute/gateway").spec.rules[0].backendRefs[0].port = 8080;
    },
    caught: /^HTTPRoute\/gateway: no Service gateway with port 8080$/,
  },
  {
    says: "a service that listens elsewhere than its port says",
    check: "services listen and are looked for at their ports",
    make: (_, docs) => {
      configOf(docs, "encoder-settings").data.FLORENCE_ENCODER_PORT = "50099";
    },
    caught: /^Deployment\/encoder: listens on 50099, and its port grpc is 50051$/,
  },
  {
    says: "a service on loopback",
    check: "services listen and are looked for at their ports",
    make: (_, docs) => {
      configOf(docs, "decoder-settings").data.FLORENCE_DECODER_HOST = "127.0.0.1";
    },
    caught: /^Deployment\/decoder: listens on loopback only$/,
  },
  {
    says: "encoders behind one address",
    check: "services listen and are looked for at their ports",
    make: (find) => {
      find("Service/encoder").spec.clusterIP = undefined;
    },
    caught: /^Deployment\/gateway: .* has to be headless$/,
  },
  {
    says: "readiness that asks only whether the process lives",
    check: "probes fit each role",
    make: (find) => {
      container(find("Deployment/gateway")).readinessProbe.httpGet.path = "/healthz";
    },
    caught: /readiness of a gateway is \/readyz$/,
  },
  {
    says: "liveness that asks others",
    check: "probes fit each role",
    make: (find) => {
      container(find("Deployment/gateway")).livenessProbe.httpGet.path = "/readyz";
    },
    caught: /liveness of a gateway is \/healthz$/,
  },
  {
    says: "the health of another service",
    check: "probes fit each role",
    make: (find) => {
      container(find("Deployment/encoder")).readinessProbe.grpc.service = "florence.v1.Decoder";
    },
    caught: /readiness of a encoder is the gRPC health of florence\.v1\.Encoder$/,
  },
  {
    says: "a kubelet that asks a port with TLS",
    check: "probes fit each role",
    make: (find) => {
      container(find("Deployment/decoder")).readinessProbe.grpc.port = 50052;
    },
    caught: /FLORENCE_HEALTH_PORT$/,
  },
  {
    says: "no probe at all",
    check: "probes fit each role",
    make: (find) => {
      container(find("StatefulSet/nats")).livenessProbe = undefined;
    },
    caught: /^StatefulSet\/nats: has no liveness probe$/,
  },
  {
    says: "a volume that is not there",
    check: "volumes exist",
    make: (find) => {
      const { spec } = find("Deployment/encoder").spec.template;
      spec.volumes = spec.volumes.filter(({ name }: Loose) => name !== "model");
    },
    caught: /^Deployment\/encoder: no volume model$/,
  },
  {
    says: "a model that is mounted elsewhere",
    check: "volumes exist",
    make: (find) => {
      container(find("Deployment/decoder")).volumeMounts.find(({ name }: Loose) => name === "model").mountPath =
        "/models";
    },
    caught: /^Deployment\/decoder: nothing is mounted where FLORENCE_MODEL is$/,
  },
  {
    says: "a priority class that is not there",
    check: "what is named exists",
    make: (find) => {
      find("Deployment/gateway").spec.template.spec.priorityClassName = "high";
    },
    caught: /^Deployment\/gateway: no PriorityClass high$/,
  },
  {
    says: "a variable that the code does not know",
    check: "variables are settings of the code",
    make: (_, docs) => {
      configOf(docs, "gateway-settings").data.FLORENCE_ENCODERS = "encoder:50051";
    },
    caught: /^Deployment\/gateway: FLORENCE_ENCODERS is no setting of the gateway$/,
  },
  {
    says: "a setting of another role",
    check: "variables are settings of the code",
    make: (_, docs) => {
      configOf(docs, "encoder-settings").data.FLORENCE_DECODER_ROWS_MAX = "8";
    },
    caught: /FLORENCE_DECODER_ROWS_MAX is no setting of the encoder$/,
  },
  {
    says: "a value that the code does not take",
    check: "variables are settings of the code",
    make: (_, docs) => {
      configOf(docs, "decoder-settings").data.FLORENCE_LOG_LEVEL = "verbose";
    },
    caught: /^Deployment\/decoder: FLORENCE_LOG_LEVEL="verbose" is none of/,
  },
  {
    says: "a secret among the settings",
    check: "variables are settings of the code",
    make: (find, docs) => {
      const gateway = container(find("Deployment/gateway"));
      gateway.env = gateway.env.filter(({ name }: Loose) => name !== "FLORENCE_ID_SECRET");
      configOf(docs, "gateway-settings").data.FLORENCE_ID_SECRET = "0123456789abcdef";
    },
    caught: /^Deployment\/gateway: FLORENCE_ID_SECRET is a secret and stands in the open$/,
  },
  {
    says: "a missing key of a secret",
    check: "config maps, secrets and their keys exist",
    make: (find) => {
      container(find("Deployment/gateway")).env[0].valueFrom.secretKeyRef.key = "id_secret";
    },
    caught: /^Deployment\/gateway: Secret florence-secrets has no key id_secret$/,
  },
  {
    says: "a certificate that nobody issues",
    check: "config maps, secrets and their keys exist",
    make: (_, docs) => {
      docs.splice(
        docs.findIndex((doc) => nameOf(doc) === "Certificate/encoder"),
        1,
      );
    },
    caught: /^Deployment\/encoder: no Secret encoder-tls$/,
  },
  {
    says: "a config map that is not there",
    check: "config maps, secrets and their keys exist",
    make: (find) => {
      container(find("Deployment/encoder")).envFrom[0].configMapRef.name = "encoder-settings";
    },
    caught: /^Deployment\/encoder: no ConfigMap encoder-settings$/,
  },
  {
    says: "the root user",
    check: "pods are restricted",
    make: (find) => {
      find("Deployment/encoder").spec.template.spec.securityContext.runAsUser = 0;
    },
    caught: /^Deployment\/encoder: may run as root$/,
  },
  {
    says: "an image that can be written to",
    check: "pods are restricted",
    make: (find) => {
      container(find("Deployment/decoder")).securityContext.readOnlyRootFilesystem = false;
    },
    caught: /^Deployment\/decoder: decoder may write to its image$/,
  },
  {
    says: "variables of Services",
    check: "pods are restricted",
    make: (find) => {
      find("Deployment/gateway").spec.template.spec.enableServiceLinks = undefined;
    },
    caught: /look like settings$/,
  },
  {
    says: "a missing limit",
    check: "resources are stated and hold what settings allow",
    make: (find) => {
      container(find("Deployment/gateway")).resources.limits.memory = undefined;
    },
    caught: /^Deployment\/gateway: gateway has no limit of memory$/,
  },
  {
    says: "threads that are not the limit",
    check: "resources are stated and hold what settings allow",
    make: (find) => {
      const variable = container(find("Deployment/encoder")).env.find(({ name }: Loose) => name.endsWith("_THREADS"));
      variable.valueFrom = undefined;
      variable.value = "16";
    },
    caught: /FLORENCE_ENCODER_THREADS is not its limit of cpu$/,
  },
  {
    says: "settings that want more than the memory",
    check: "resources are stated and hold what settings allow",
    make: (_, docs) => {
      configOf(docs, "decoder-settings").data.FLORENCE_DECODER_KV_BYTES_MAX = "8589934592";
    },
    caught: /^Deployment\/decoder: decoder its settings let it keep \d+ bytes, more than its memory$/,
  },
  {
    says: "a grace period that ends a drain",
    check: "pods stop in order",
    make: (find) => {
      find("Deployment/encoder").spec.template.spec.terminationGracePeriodSeconds = 30;
    },
    caught: /^Deployment\/encoder: terminationGracePeriodSeconds is less than the 76 that preStop and drain take$/,
  },
  {
    says: "a drain that cuts calls",
    check: "pods stop in order",
    make: (_, docs) => {
      configOf(docs, "gateway-settings").data.FLORENCE_DRAIN_MS = "5000";
    },
    caught: /^Deployment\/gateway: FLORENCE_DRAIN_MS=5000 cuts calls/,
  },
  {
    says: "a pod that goes before anybody knows",
    check: "pods stop in order",
    make: (find) => {
      container(find("Deployment/decoder")).lifecycle = undefined;
    },
    caught: /^Deployment\/decoder: preStop is over before/,
  },
  {
    says: "pods in one zone",
    check: "pods are spread and ranked",
    make: (find) => {
      find("Deployment/gateway").spec.template.spec.topologySpreadConstraints.shift();
    },
    caught: /^Deployment\/gateway: is not spread over topology\.kubernetes\.io\/zone$/,
  },
  {
    says: "a plain autoscaler beside KEDA's",
    check: "one autoscaler a workload",
    make: (_, docs) => {
      const scaleTargetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "encoder" };
      const spec = { scaleTargetRef, minReplicas: 2, maxReplicas: 4 };
      docs.push({ apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "encoder" }, spec });
    },
    caught: /^Deployment\/encoder: scaled by ScaledObject\/encoder and HorizontalPodAutoscaler\/encoder$/,
  },
  {
    says: "replicas beside an autoscaler",
    check: "one autoscaler a workload",
    make: (find) => {
      find("Deployment/decoder").spec.replicas = 3;
    },
    caught: /^Deployment\/decoder: says replicas, which its autoscaler decides$/,
  },
  {
    says: "an autoscaler that goes to zero",
    check: "one autoscaler a workload",
    make: (find) => {
      find("ScaledObject/encoder").spec.minReplicaCount = undefined;
    },
    caught: /^ScaledObject\/encoder: goes to zero/,
  },
  {
    says: "an autoscaler of nothing",
    check: "one autoscaler a workload",
    make: (find) => {
      find("ScaledObject/decoder").spec.scaleTargetRef.name = "decoders";
    },
    caught: /^ScaledObject\/decoder: scales decoders, which is not there$/,
  },
  {
    says: "a query for another namespace",
    check: "autoscalers ask for their own namespace",
    make: (find) => {
      find("ScaledObject/decoder").spec.triggers[1].metadata.query = "sum(florence_decoder_calls_waiting)";
    },
    caught: /^ScaledObject\/decoder: asks for the metrics of another namespace$/,
  },
  {
    says: "a budget that blocks drains",
    check: "budgets let nodes drain",
    make: (find) => {
      const { spec } = find("PodDisruptionBudget/encoder");
      spec.maxUnavailable = undefined;
      spec.minAvailable = 2;
    },
    caught: /^PodDisruptionBudget\/encoder: blocks every drain while there are 2$/,
  },
  {
    says: "two budgets for one pod",
    check: "budgets let nodes drain",
    make: (find) => {
      find("PodDisruptionBudget/decoder").spec.selector.matchLabels["app.kubernetes.io/component"] = "encoder";
    },
    caught: /^Deployment\/encoder: has 2 disruption budgets, not one$/,
  },
  {
    says: "a rollout that cannot move",
    check: "rollouts can move",
    make: (find) => {
      find("Deployment/gateway").spec.strategy.rollingUpdate = { maxSurge: 0, maxUnavailable: 0 };
    },
    caught: /^Deployment\/gateway: a rollout may neither/,
  },
  {
    says: "whatever image is newest",
    check: "images have a tag or a digest",
    make: (find) => {
      container(find("Deployment/collector")).image = "otel/opentelemetry-collector:latest";
    },
    caught: /^Deployment\/collector: otel\/opentelemetry-collector:latest has neither/,
  },
  {
    says: "a tag in production",
    check: "images are named by their digests",
    make: (find) => {
      container(find("Deployment/gateway")).image = "registry.example/florence/gateway:0.1.0";
    },
    caught: /^Deployment\/gateway: .*gateway:0\.1\.0 is not named by its digest$/,
  },
  {
    says: "a bucket larger than NATS's store",
    check: "NATS holds what services store",
    make: (_, docs) => {
      configOf(docs, "encoder-settings").data.FLORENCE_NATS_BYTES_MAX = "99999999999";
    },
    caught: /^Deployment\/encoder: FLORENCE_NATS_BYTES_MAX is more than NATS may store$/,
  },
  {
    says: "NATS without its certificates",
    check: "NATS holds what services store",
    make: (_, docs) => {
      configOf(docs, "nats-config").data["client-tls.conf"] = "";
    },
    caught: /speaks TLS to NATS where it speaks none/,
  },
];

describe.runIf(kustomize)("a mistake is caught", () => {
  const all = { ...checks, ...productionChecks };

  test.each(mistakes)("$says, by: $check", ({ check, make, caught }) => {
    const docs = structuredClone(overlay("production")) as Loose[];
    const run = all[check];
    if (run === undefined) throw new Error(`There is no check "${check}".`);
    expect(run(docs)).toEqual([]);
    make((name) => docs.find((doc) => nameOf(doc) === name), docs);
    // What a document does not say is absent there, not undefined.
    expect(run(JSON.parse(JSON.stringify(docs)))).toContainEqual(expect.stringMatching(caught));
  });

  test("and no check is without its mistake", () => {
    expect(Object.keys(all).filter((name) => !mistakes.some(({ check }) => check === name))).toEqual([]);
  });
});

describe("the Dockerfiles", () => {
  test.each(roleNames.filter((name) => name !== "model"))(
    "%s: settings of the code, not root, no shell, a health check",
    (role) => {
      const { env, user, command, healthcheck } = readDockerfile(role);
      const container = { name: role, image: `florence-${role}:test`, env: [] };
      const pod = { containers: [container] };
      const doc = {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: role },
        spec: { template: { spec: pod } },
      };
      expect(settingsExist([doc])).toEqual([]);
      expect(Object.keys(env).length).toBeGreaterThan(2);
      expect(user).toBeGreaterThan(1000);
      expect(command).toEqual(["/bin/node", "/app/main.js"]);
      expect(healthcheck.slice(0, 2)).toEqual(["/bin/node", "/app/healthcheck.js"]);
      expect(healthcheck[2]).toContain(`:${env.PORT ?? env[`FLORENCE_${role.toUpperCase()}_PORT`]}`);
    },
  );

  test.each(roleNames)("%s: a release without the base's digest ends its build", (role) => {
    const text = readFileSync(join(root, "deploy/images", role, "Dockerfile"), "utf8");
    const script = /^RUN (case .*esac)$/m.exec(text)?.[1] ?? "";
    const passes = (VERSION: string, NODE: string) => {
      try {
        execFileSync("sh", ["-c", script], { env: { VERSION, NODE }, stdio: "pipe" });
        return true;
      } catch {
        return false;
      }
    };
    expect(passes("", "node:24-bookworm-slim")).toBe(true);
    expect(passes("1.0.0", "node:24-bookworm-slim")).toBe(false);
    expect(passes("1.0.0", `node:24-bookworm-slim@sha256:${"a".repeat(64)}`)).toBe(true);
  });
});

test("compose.yaml gives each service settings of the code, nothing to write to, and time to drain", () => {
  const { services } = parse(readFileSync(join(root, "compose.yaml"), "utf8"), { merge: true }) as Loose;
  for (const role of ["gateway", "encoder", "decoder"]) {
    const { environment, read_only, cap_drop, image, stop_grace_period } = services[role];
    expect(image).toBe(`florence-${role}`);
    expect([read_only, cap_drop]).toEqual([true, ["ALL"]]);
    // 30 s is the services' own default of FLORENCE_DRAIN_MS.
    expect(Number.parseInt(stop_grace_period, 10)).toBeGreaterThanOrEqual(35);
    const env = Object.entries(environment as Record<string, string>).map(([name, value]) =>
      /SECRET/.test(name) ? { name, valueFrom: { secretKeyRef: { name: "any", key: "any" } } } : { name, value },
    );
    const pod = { containers: [{ name: role, image, env }] };
    const doc = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: role },
      spec: { template: { spec: pod } },
    };
    expect(settingsExist([doc])).toEqual([]);
  }
  expect([services.encoder.deploy.replicas, services.decoder.deploy.replicas]).toEqual([2, 2]);
});

const nats = await findOrGetNatsServer();
if (typeof nats !== "string") process.stderr.write(`Not run: NATS reads its configuration. ${nats.missing}\n`);

describe.runIf(kustomize && typeof nats === "string")("NATS reads its configuration", () => {
  test.each(["local", "production"])("of overlay %s", (name) => {
    const folder = join(work, `nats-${name}`);
    mkdirSync(folder);
    const { data } = configOf(overlay(name) as Loose[], "nats-config");
    // Certificates lie elsewhere here, so that part is read with paths that do not exist: only its grammar is looked at.
    for (const [file, text] of Object.entries(data as Record<string, string>)) {
      writeFileSync(join(folder, file), name === "production" && file.endsWith("-tls.conf") ? "" : text);
    }
    const env = { POD_NAME: "nats-0", ENCODER_PASSWORD: "encoder", DECODER_PASSWORD: "decoder" };
    const read = () => execFileSync(String(nats), ["-t", "-c", join(folder, "nats.conf")], { env, stdio: "pipe" });
    expect(read).not.toThrow();
    writeFileSync(join(folder, "client-tls.conf"), "tls {");
    expect(read).toThrow();
  });
});
