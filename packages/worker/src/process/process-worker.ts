import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { Fault, sleep } from "@florence/service";
import { fromWire, type WireError } from "../protocol.ts";
import { type Frame, readFrames, writeFrame } from "./frame.ts";
import { watchMemory } from "./memory-watch.ts";
import { channelFd } from "./process-server.ts";

/** Why a process was ended in the middle of its work, or ended by itself. */
export class ProcessEnded extends Error {
  override readonly name = "ProcessEnded";
  readonly why: "time" | "memory" | "crash";

  constructor(why: ProcessEnded["why"], message: string) {
    super(message);
    this.why = why;
  }
}

export interface ProcessOptions {
  /** Shown in errors. */
  readonly name: string;
  /** Resident memory past which a process is killed, in bytes. Enforced on Linux; elsewhere the time limit is all there is. */
  readonly memoryBytesMax: number;
  /** Largest body that a process may answer with, in bytes. */
  readonly bodyBytesMax: number;
  /** Told when the process becomes able or unable to work, with why it ended. It must not throw. */
  readonly onChange?: ((ready: boolean, ended?: Error) => void) | undefined;
}

export interface ProcessCall {
  readonly request: object;
  readonly body: Uint8Array;
  /** How long the work may take before the process is killed, in milliseconds. */
  readonly timeMsMax: number;
}

type FromProcess =
  | { readonly type: "ready" }
  | { readonly type: "failed" | "error"; readonly error: WireError }
  | { readonly type: "result"; readonly result: object };

// Loading a native library takes a fifth of a second; on a machine that swaps, many times that.
const startMsMax = 60_000;
// One that cannot start is tried again, with growing pauses; one that was killed is replaced at once.
const restartMsMin = 200;
const restartMsMax = 30_000;

/** A child process that does one piece of work at a time and may die of it: it is killed when it takes too long or too much, and replaced. */
export class ProcessWorker implements AsyncDisposable {
  readonly #file: string;
  readonly #data: object;
  readonly #options: ProcessOptions;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #ready = false;
  #waiting: { resolve: (frame: Frame) => void; reject: (error: Error) => void } | undefined;
  #killed: ProcessEnded | undefined;
  #supervision: Promise<void> = Promise.resolve();

  private constructor(url: URL, data: object, options: ProcessOptions) {
    this.#file = fileURLToPath(url);
    this.#data = data;
    this.#options = options;
  }

  /** Starts the process and waits until it is ready. Rejects with its own error where its first start fails. */
  static async start(url: URL, data: object, options: ProcessOptions): Promise<ProcessWorker> {
    const worker = new ProcessWorker(url, data, options);
    const { exited } = await worker.#begin();
    worker.#supervision = worker.#supervise(exited);
    return worker;
  }

  /** Whether it takes work now. */
  get free(): boolean {
    return this.#ready && this.#waiting === undefined;
  }

  /** Whether it works or takes work. */
  get alive(): boolean {
    return this.#ready;
  }

  /**
   * Does one piece of work. Rejects with the handler's error (a Fault where it has a code), a ProcessEnded where the process did not
   * survive it, or `unavailable` where there is none.
   */
  async call({ request, body, timeMsMax }: ProcessCall): Promise<{ result: object; body: Uint8Array<ArrayBuffer> }> {
    if (!this.free)
      throw new Fault("unavailable", "The service is unavailable.", { internal: "The process is not free." });
    const answer = this.#next();
    const timer = setTimeout(
      () => this.#kill("time", `${this.#options.name} took more than ${timeMsMax} ms`),
      timeMsMax,
    );
    try {
      writeFrame(this.#channel, request, body);
      const frame = await answer;
      const head = frame.head as FromProcess;
      if (head.type === "result") return { result: head.result, body: frame.body };
      throw head.type === "ready" ? new Error("The process started twice.") : fromWire(head.error);
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#child?.kill("SIGKILL");
    await this.#supervision;
  }

  get #channel(): Duplex {
    return this.#child?.stdio[channelFd] as Duplex;
  }

  #next(): Promise<Frame> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  #kill(why: "time" | "memory", message: string): void {
    this.#killed = new ProcessEnded(why, message);
    this.#ready = false;
    this.#child?.kill("SIGKILL");
  }

  /** Starts a process and waits until it is ready. `exited` resolves to why it ended. */
  async #begin(): Promise<{ exited: Promise<Error> }> {
    const { name, bodyBytesMax, memoryBytesMax } = this.#options;
    this.#killed = undefined;
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", this.#file], {
      stdio: ["ignore", "inherit", "inherit", "pipe"],
    });
    this.#child = child;
    const memory = watchMemory(child, memoryBytesMax, () => this.#kill("memory", `${name} took too much memory`));
    const killWithUs = () => child.kill("SIGKILL");
    process.once("exit", killWithUs);
    const { promise: exited, resolve: onExit } = Promise.withResolvers<Error>();
    const end = (error: Error) => {
      this.#ready = false;
      memory[Symbol.dispose]();
      process.off("exit", killWithUs);
      this.#waiting?.reject(error);
      this.#waiting = undefined;
      onExit(error);
    };
    child.once("error", end);
    child.once("exit", (code, signal) =>
      end(this.#killed ?? new ProcessEnded("crash", `${name} ended with ${signal ?? code}`)),
    );
    this.#channel.on("error", () => child.kill("SIGKILL"));
    readFrames(this.#channel, bodyBytesMax, (frame) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(frame);
    });
    const timer = setTimeout(() => this.#kill("time", `${name} did not start within ${startMsMax} ms`), startMsMax);
    try {
      const started = this.#next();
      writeFrame(this.#channel, this.#data);
      const head = (await started).head as FromProcess;
      if (head.type === "failed") throw fromWire(head.error);
    } catch (error) {
      child.kill("SIGKILL");
      await exited;
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.#ready = true;
    this.#options.onChange?.(true);
    return { exited };
  }

  async #supervise(first: Promise<Error>): Promise<void> {
    const { signal } = this.#stopping;
    let exited = first;
    while (!signal.aborted) {
      const ended = await exited;
      if (signal.aborted) return;
      this.#options.onChange?.(false, ended);
      for (let pauseMs = restartMsMin; !signal.aborted && !this.#ready; pauseMs = Math.min(2 * pauseMs, restartMsMax)) {
        try {
          ({ exited } = await this.#begin());
        } catch (error) {
          if (signal.aborted) return;
          this.#options.onChange?.(false, error as Error);
          await sleep(pauseMs, signal).catch(() => {});
        }
      }
    }
    this.#child?.kill("SIGKILL");
    await exited;
  }
}
