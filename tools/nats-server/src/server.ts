import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ServerSettings, serverConfig } from "./server-config.ts";

export interface NatsServerOptions extends ServerSettings {
  /** Path of the program, as findOrGetNatsServer finds it. */
  binary: string;
  /** Where streams are stored; a temporary folder, removed at the end, unless given. */
  storeDir?: string;
  /** Port on loopback; 0 (the default) takes a free one. */
  port?: number;
}

/** A nats-server with JetStream on loopback, which this process has started and ends. */
export interface NatsServer extends AsyncDisposable {
  /** nats://127.0.0.1:port, or tls://localhost:port. */
  readonly url: string;
  readonly port: number;
  /** The running process's id; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Ends it with SIGTERM, after a grace period with SIGKILL. The store is kept. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL, as a crash would. The store is kept. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  /** Stops it if it runs, and starts it again on the same port. */
  restart(options: { keepData: boolean }): Promise<void>;
}

// A start takes about 50 ms; a machine busy with other tests may take a hundred times that.
const startMsMax = 15_000;

// JetStream writes out its stores at SIGTERM, within milliseconds for what tests store.
const stopMsMax = 5_000;

/** Starts a server and resolves when it answers. Throws an Error with its last words when it does not start. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  await using resources = new AsyncDisposableStack();
  const work = await mkdtemp(join(tmpdir(), "florence-nats-"));
  resources.defer(() => rm(work, { recursive: true, force: true }));
  const storeDir = options.storeDir ?? join(work, "store");
  let child: ChildProcess | undefined;
  let port = options.port ?? 0;

  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (ending) await endProcess(ending, signal);
  };
  resources.defer(() => end("SIGKILL"));
  const start = async () => {
    const config = join(work, "server.conf");
    await writeFile(config, serverConfig(options, { port, storeDir, portsDir: work }));
    child = await spawnServer(options.binary, config);
    port = await portOf(child, work);
  };
  await start();

  const running = resources.move();
  return {
    url: options.tls ? `tls://localhost:${port}` : `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return child?.pid;
    },
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    async restart({ keepData }) {
      await end(keepData ? "SIGTERM" : "SIGKILL");
      if (!keepData) await rm(join(storeDir, "jetstream"), { recursive: true, force: true });
      await start();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function spawnServer(binary: string, config: string): Promise<ChildProcess> {
  const child = spawn(binary, ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  // A process that ends in a hurry takes its server with it.
  const onExit = () => child.kill("SIGKILL");
  process.on("exit", onExit);
  child.once("exit", () => process.off("exit", onExit));
  await once(child, "spawn");
  return child;
}

// The server writes a file with its ports once it accepts connections; the file's name carries its pid.
async function portOf(child: ChildProcess, folder: string): Promise<number> {
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-2000); // Enough for its last lines; the rest is let go.
  });
  const path = join(folder, `nats-server_${child.pid}.ports`);
  const giveUpAt = performance.now() + startMsMax;
  while (performance.now() < giveUpAt && child.exitCode === null && child.signalCode === null) {
    const ports = await readPorts(path);
    const port = Number(/:(\d+)$/.exec(ports?.nats?.[0] ?? "")?.[1]);
    if (port && (await answers(port))) return port;
    await sleep(10);
  }
  await endProcess(child, "SIGKILL");
  throw new Error(`nats-server did not start: ${words.trim() || "it said nothing"}`);
}

// Undefined while there is no such file, or not the whole of it.
async function readPorts(path: string): Promise<{ nats?: string[] } | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}

// A server greets with its INFO line.
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => settle(false)); // Loopback answers within a millisecond.
    socket.once("data", () => settle(true)).once("error", () => settle(false));
  });
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGCONT"); // A frozen process would not see SIGTERM.
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMsMax);
  await gone;
  clearTimeout(timer);
}
