import type { ChildProcess } from "node:child_process";
import type { Duplex } from "node:stream";
import { Fault } from "@florence/service";
import { fromWire, type WireError } from "../protocol.ts";
import { type Frame, frameReader, writeFrame } from "./frame.ts";
import { residentBytes, watchMemory } from "./memory.ts";
import { channelFd } from "./process-server.ts";
import { spawnChild } from "./spawn-child.ts";

/** Why a process was ended, or ended by itself. */
export class ProcessEnded extends Error {
  override readonly name = "ProcessEnded";
  /** `time` and `memory`: it was killed past a limit. `crash`: nobody here did it. `closed`: it was not wanted any more. */
  readonly why: "time" | "memory" | "crash" | "closed";

  constructor(why: ProcessEnded["why"], message: string) {
    super(message);
    this.why = why;
  }
}

/** How a child process is started. */
export interface ProcessOptions {
  /** Shown in errors. */
  readonly name: string;
  /** The most memory that any call may name, in bytes. */
  readonly memoryBytesMax: number;
  /** Largest body that a process may answer with, in bytes. */
  readonly bodyBytesMax: number;
}

/** One piece of work. */
export interface ProcessCall {
  readonly request: object;
  /** It must not change before the call is settled. */
  readonly body: Uint8Array;
  /** How long the work may take before the process is killed, in milliseconds. */
  readonly timeMsMax: number;
  /** Resident memory past which the process is killed, in bytes. Enforced on Linux; elsewhere the time limit is all there is. */
  readonly memoryBytesMax: number;
  /** Told when the process did not survive the work, also after the caller has gone. It must not throw. */
  readonly onEnded?: (ended: ProcessEnded) => void;
}

/** What a piece of work came to. */
export interface ProcessResult {
  readonly result: object;
  /** Its own memory. */
  readonly body: Uint8Array<ArrayBuffer>;
}

type FromProcess =
  | { readonly type: "ready" }
  | { readonly type: "failed" | "error"; readonly error: WireError }
  | { readonly type: "result"; readonly result: object };

// Loading a native library takes a fifth of a second; on a machine that swaps, many times that.
const startMsMax = 60_000;
// A stack trace and the lines before it. The rest of what a child says is dropped: a file can make a library complain without end.
const wordsCharactersMax = 2000;

/** One child process, for the whole of its life: it does one piece of work at a time, and may die of it. */
export class ProcessChild {
  /** Resolves to why it ended. */
  readonly ended: Promise<ProcessEnded>;
  readonly #child: ChildProcess;
  readonly #name: string;
  #waiting: PromiseWithResolvers<Frame> | undefined;
  #killed: ProcessEnded | undefined;
  #words = "";

  private constructor(file: string, { name, memoryBytesMax, bodyBytesMax }: ProcessOptions) {
    this.#name = name;
    this.#child = spawnChild(file, memoryBytesMax);
    const { promise, resolve } = Promise.withResolvers<ProcessEnded>();
    this.ended = promise;
    const end = (how: string) => {
      this.#killed ??= new ProcessEnded("crash", `${name} ended with ${how}. ${this.#words}`.trim());
      this.#waiting?.reject(this.#killed);
      this.#waiting = undefined;
      resolve(this.#killed);
    };
    // "close" and not "exit": by then an answer that it wrote before it ended has been read.
    this.#child.once("close", (code, signal) => end(String(signal ?? code)));
    this.#child.once("error", (error) => end(error.message));
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#words = (this.#words + text).slice(-wordsCharactersMax);
    });
    const read = frameReader(bodyBytesMax, (frame) => {
      this.#waiting?.resolve(frame);
      this.#waiting = undefined;
    });
    const channel = this.#child.stdio[channelFd] as Duplex | undefined;
    channel?.on("data", (piece: Buffer) => {
      try {
        read(piece);
      } catch (error) {
        channel.destroy(error as Error);
      }
    });
    // What cannot be talked with is of no use. A write to one that has just ended fails here too.
    channel?.on("error", () => this.#child.kill("SIGKILL"));
  }

  /**
   * Starts a process and waits until it is ready. Rejects when it does not get so far: with its own error, a ProcessEnded, or the reason
   * of the signal.
   */
  static async start(file: string, data: object, options: ProcessOptions, signal?: AbortSignal): Promise<ProcessChild> {
    signal?.throwIfAborted();
    const child = new ProcessChild(file, options);
    const onAbort = () => child.end("closed", "it is not wanted any more");
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await child.#ask(data, new Uint8Array(0), { timeMsMax: startMsMax, memoryBytesMax: options.memoryBytesMax });
      return child;
    } catch (error) {
      child.end("closed", "it did not start");
      await child.ended;
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Whether it takes work now. */
  get free(): boolean {
    return this.#killed === undefined && this.#waiting === undefined;
  }

  /** Resident memory; 0 where it cannot be known. */
  get residentBytes(): number {
    return residentBytes(this.#child.pid);
  }

  /**
   * Does one piece of work. Rejects with the handler's error (a Fault where it has a code), a ProcessEnded where the process did not
   * survive it, or `unavailable` where it is not free.
   */
  call({ request, body, ...limits }: ProcessCall): Promise<ProcessResult> {
    return this.#ask(request, body, limits);
  }

  /** Kills it, in native code too. */
  end(why: ProcessEnded["why"], message: string): void {
    this.#killed ??= new ProcessEnded(why, `${this.#name} was ended: ${message}`);
    this.#child.kill("SIGKILL");
  }

  async #ask(
    head: object,
    body: Uint8Array,
    { timeMsMax, memoryBytesMax }: Pick<ProcessCall, "timeMsMax" | "memoryBytesMax">,
  ): Promise<ProcessResult> {
    if (!this.free) {
      throw new Fault("unavailable", "The service is unavailable.", { internal: "The process is not free." });
    }
    const waiting = Promise.withResolvers<Frame>();
    this.#waiting = waiting;
    const timer = setTimeout(() => this.end("time", `it took more than ${timeMsMax} ms`), timeMsMax);
    using _memory = watchMemory(this.#child.pid, memoryBytesMax, () =>
      this.end("memory", `it took more than ${memoryBytesMax} bytes`),
    );
    try {
      const channel = this.#child.stdio[channelFd] as Duplex | undefined;
      if (channel) writeFrame(channel, head, body);
      const frame = await waiting.promise;
      const answer = frame.head as FromProcess;
      if (answer.type === "result") return { result: answer.result, body: frame.body };
      if (answer.type === "ready") return { result: {}, body: frame.body };
      throw fromWire(answer.error);
    } finally {
      clearTimeout(timer);
    }
  }
}
