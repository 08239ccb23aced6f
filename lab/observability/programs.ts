import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, mkdtemp, rename } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { aptSuites, unpackFromApt } from "../../tools/nats-server/src/apt.ts";

const run = promisify(execFile);
const tools = join(import.meta.dirname, "../../.tools");
// Debian's index and the package are 30 MB; the collector's modules are built in minutes.
const unpackMs = 120_000;
const startMs = 30_000;

/** A program that runs until it is disposed of. */
export interface Running extends AsyncDisposable {
  readonly address: string;
}

/** prometheus and promtool: of the PATH, else Debian's package, unpacked into .tools/prometheus once. */
export async function findPrometheus(): Promise<{ prometheus: string; promtool: string }> {
  const runs = (binary: string) =>
    run(binary, ["--version"]).then(
      () => true,
      () => false,
    );
  if ((await runs("prometheus")) && (await runs("promtool"))) return { prometheus: "prometheus", promtool: "promtool" };
  const folder = join(tools, "prometheus");
  const kept = { prometheus: join(folder, "usr/bin/prometheus"), promtool: join(folder, "usr/bin/promtool") };
  if (await runs(kept.prometheus)) return kept;
  await mkdir(tools, { recursive: true });
  const work = await mkdtemp(join(tools, "apt-"));
  const program = { package: "prometheus", path: "usr/bin/prometheus", runs };
  // The system's own suite first: its libraries are here.
  const suites = aptSuites.toReversed();
  const unpacked = await unpackFromApt({ program, folder: work, suites, signal: AbortSignal.timeout(unpackMs) });
  await rename(join(unpacked.folder, "unpacked"), folder);
  return kept;
}

/** Builds OpenTelemetry's collector, with a receiver and an exporter of OTLP, from Go modules into .tools/collector once. */
export async function buildCollector(): Promise<string> {
  const binary = join(tools, "collector/collector");
  const there = await access(binary).then(
    () => true,
    () => false,
  );
  if (!there) await run("go", ["build", "-o", binary, "."], { cwd: join(import.meta.dirname, "collector") });
  return binary;
}

/** Starts a program that listens on a port of this machine, and waits until it does. */
export async function startProgram(binary: string, args: readonly string[], port: number): Promise<Running> {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "pipe"] });
  let words = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (words += text));
  const address = `127.0.0.1:${port}`;
  const untilMs = performance.now() + startMs;
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > untilMs) throw new Error(`${binary} does not listen: ${words}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const { connect } = await import("node:net");
  const socket = connect(port, "127.0.0.1");
  const result = await Promise.race([
    once(socket, "connect").then(() => true),
    once(socket, "error").then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return result;
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}
