import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { program } from "./build.ts";
import { KubernetesClient } from "./client.ts";
import { moduleFolder } from "./modules.ts";

/** Kubernetes without kubelets: every decision is the real one, and kwok says that pods run. */
export interface ControlPlane extends AsyncDisposable {
  readonly client: KubernetesClient;
  readonly folder: string;
}

const startMsMax = 120_000; // Ten seconds on two idle cores.

/** Starts etcd, the API server, the controllers, the scheduler and kwok on loopback. Throws with their last words where they do not. */
export async function startControlPlane(): Promise<ControlPlane> {
  await using resources = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "florence-kubernetes-"));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  const start = (name: Parameters<typeof program>[0], args: readonly string[]) => {
    const log = openSync(join(folder, `${name}.log`), "a");
    const child = spawn(program(name), args, { stdio: ["ignore", log, log] });
    resources.defer(() => end(child));
  };
  const [etcdPort, peerPort, port] = (await Promise.all([freePort(), freePort(), freePort()])) as [
    number,
    number,
    number,
  ];
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  const etcd = `http://127.0.0.1:${etcdPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  start("etcd", [
    ...[`--data-dir=${join(folder, "etcd")}`, `--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`],
    ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=default=${peer}`],
    "--unsafe-no-fsync",
  ]);

  const token = randomUUID();
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = file("service-accounts.pem", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  start("kube-apiserver", [
    ...[`--etcd-servers=${etcd}`, `--cert-dir=${join(folder, "certs")}`, `--secure-port=${port}`],
    ...["--bind-address=127.0.0.1", "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC"],
    ...["--service-account-issuer=https://lab", `--service-account-key-file=${key}`],
    ...[`--service-account-signing-key-file=${key}`, "--enable-aggregator-routing=true"],
    `--token-auth-file=${file("tokens.csv", `${token},lab,lab,system:masters\n`)}`,
    // What the image volume component wants.
    "--feature-gates=ImageVolume=true",
  ]);
  const certificate = join(folder, "certs/apiserver.crt");
  await until(() => existsSync(certificate), folder, "kube-apiserver");
  const client = new KubernetesClient(port, token, certificate);
  const ready = () =>
    client.send("GET", "/readyz").then(
      ({ status }) => status === 200,
      () => false,
    );
  await until(ready, folder, "kube-apiserver");

  const cluster = { server: `https://127.0.0.1:${port}`, "certificate-authority": certificate };
  const kubeconfig = file(
    "kubeconfig",
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "lab", cluster }],
      users: [{ name: "lab", user: { token } }],
      contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
      "current-context": "lab",
    }),
  );
  start("kube-controller-manager", [
    ...[`--kubeconfig=${kubeconfig}`, "--leader-elect=false", "--secure-port=0", `--root-ca-file=${certificate}`],
    ...[`--service-account-private-key-file=${key}`, "--horizontal-pod-autoscaler-sync-period=1s"],
  ]);
  start("kube-scheduler", [`--kubeconfig=${kubeconfig}`, "--leader-elect=false", "--secure-port=0"]);
  start("kwok", [`--kubeconfig=${kubeconfig}`, "--manage-all-nodes", ...stages()]);
  const running = resources.move();
  return { client, folder, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** What kwok plays: nodes that are well, and pods that run as soon as they are placed and are gone as soon as they are asked to go. */
function stages(): string[] {
  const files = [
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-delete",
  ];
  return files.map((file) => `--config=${join(moduleFolder("kwok"), `kustomize/stage/${file}.yaml`)}`);
}

async function until(condition: () => boolean | Promise<boolean>, folder: string, name: string): Promise<void> {
  const giveUpAt = performance.now() + startMsMax;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) {
      const words = readFileSync(join(folder, `${name}.log`), "utf8").slice(-3000);
      throw new Error(`${name} did not start: ${words}`);
    }
    await sleep(100);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
