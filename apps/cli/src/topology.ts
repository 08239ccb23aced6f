import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { type ClusterConfig, clusterConfig } from "@florence/grpc/settings";
import { readConfig } from "@florence/service";
import { inherited } from "./config.ts";

export interface TopologyOptions {
  readonly gateways: number;
  readonly encoders: number;
  readonly decoders: number;
  /** Checkpoint or built folder; the drawn one unless given. */
  readonly model?: string | undefined;
  /** Where raw checkpoints are built into; the user's cache unless given. */
  readonly cache?: string | undefined;
  /** nats:// address; without one each process keeps embeddings in its own memory. */
  readonly nats?: string | undefined;
  /** Variables for all processes. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gets what a process writes to stderr. */
  readonly onLog?: (name: string, text: string) => void;
}

/** One process of the system, on a port of its own that it keeps when it is started again. */
export interface Member {
  /** gateway-0, encoder-2 … */
  readonly name: string;
  /** host:port; of a gateway http://host:port. */
  readonly address: string;
  readonly pid: number | undefined;
  /** SIGKILL, as a crash would. */
  kill(): Promise<void>;
  /** SIGTERM: drains. Resolves to the exit code. */
  stop(): Promise<number | null>;
  /** Starts it again on its port and waits until it listens. */
  start(): Promise<void>;
}

export interface Topology extends AsyncDisposable {
  /** How its processes know each other: to call one of them one must be one of them. */
  readonly cluster: ClusterConfig;
  readonly gateways: readonly Member[];
  readonly encoders: readonly Member[];
  readonly decoders: readonly Member[];
}

const program = fileURLToPath(new URL("./main.ts", import.meta.url));
const lifeline = new URL("./lifeline.ts", import.meta.url).href;
// A large checkpoint is built on the first start.
const startMsMax = 300_000;

/**
 * Starts any number of gateways, encoders and decoders as processes of their own, on free loopback ports. Throws when one of them ends
 * before it listens, or does not listen in time; those that had started are stopped then.
 */
export async function startTopology(options: TopologyOptions): Promise<Topology> {
  await using started = new AsyncDisposableStack();
  // Known to its own processes alone, unless the caller has one for them.
  const secret = { FLORENCE_CLUSTER_SECRET: randomBytes(32).toString("base64url") };
  const members = async (role: string, count: number, env: Record<string, string>) => {
    const ports = await freePorts(count);
    const made = ports.map((port, i) => member(role, `${role}-${i}`, port, options, { ...secret, ...env }));
    for (const m of made) started.defer(async () => void (await m.stop()));
    return made;
  };
  const encoders = await members("encoder", options.encoders, {});
  const decoders = await members("decoder", options.decoders, {});
  const list = (of: readonly Member[]) => of.map(({ address }) => address).join(",");
  // One secret for all, so that an image id of one gateway is known to the others.
  const env = {
    FLORENCE_ENCODER: list(encoders),
    FLORENCE_DECODER: list(decoders),
    FLORENCE_ID_SECRET: crypto.randomUUID(),
  };
  const gateways = await members("gateway", options.gateways, env);
  // The first one builds the checkpoint; the others then find it.
  const [first, ...others] = [...encoders, ...decoders];
  await first?.start();
  await Promise.all([...others, ...gateways].map((m) => m.start()));
  const running = started.move();
  const cluster = readConfig({ ...secret, ...options.env }, clusterConfig);
  return { cluster, gateways, encoders, decoders, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function member(
  role: string,
  name: string,
  port: number,
  options: TopologyOptions,
  env: Record<string, string>,
): Member {
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (!ending) return null;
    if (ending.exitCode === null && ending.signalCode === null) {
      const exited = once(ending, "exit");
      ending.kill(signal);
      await exited;
    }
    return ending.exitCode;
  };
  const flags = ["serve", "--role", role, "--host", "127.0.0.1", "--port", String(port)];
  if (options.model) flags.push("--model", options.model);
  if (options.cache) flags.push("--cache", options.cache);
  if (options.nats && role !== "gateway") flags.push("--nats", options.nats);
  return {
    name,
    address: `${role === "gateway" ? "http://" : ""}127.0.0.1:${port}`,
    get pid() {
      return child?.pid;
    },
    kill: async () => void (await end("SIGKILL")),
    stop: () => end("SIGTERM"),
    async start() {
      await end("SIGKILL");
      const settings = { ...inherited, FLORENCE_LOG_LEVEL: "warn", ...env, ...options.env };
      const starting = spawn(process.execPath, ["--import", lifeline, program, ...flags], {
        env: settings,
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        // A group of its own: a signal to ours reaches us alone, and the members stop in order, gateways first.
        detached: true,
      });
      child = starting;
      starting.stderr?.setEncoding("utf8").on("data", (text: string) => options.onLog?.(name, text));
      await listening(starting, name);
    },
  };
}

/** Resolves when the process says that it listens. */
async function listening(child: ChildProcess, name: string): Promise<void> {
  let said = "";
  const timeout = AbortSignal.timeout(startMsMax);
  await new Promise<void>((resolve, reject) => {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.includes("listens on")) resolve();
    });
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code} before it listened`)));
    timeout.addEventListener("abort", () => reject(timeout.reason), { once: true });
  });
}

/** Ports that nobody listens on now; held together while they are found, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
