import { Socket } from "node:net";
import { toWire } from "../protocol.ts";
import { frameReader, writeFrame } from "./frame.ts";

/** The file descriptor over which a child process talks with its parent: stdin, stdout and stderr stay what they are. */
export const channelFd = 3;

// All that a frame can say. The parent is us, and has bounded what it sends.
const bodyBytesMax = 2 ** 32;
// What is read at once: by default a file of some megabytes would come in hundreds of pieces.
const pieceBytes = 1024 * 1024;

/** What a child's handler answers with. */
export interface ProcessAnswer {
  /** JSON. */
  readonly result: object;
  readonly body?: Uint8Array;
}

/** Does one piece of work; what it throws reaches the caller with its code. */
export type ProcessHandler = (request: never, body: Uint8Array<ArrayBuffer>) => Promise<ProcessAnswer>;

/**
 * The child's side of a ProcessPool: call it once, at the top of the child's file. `start` gets what the pool was started with. Work comes
 * one piece at a time. The process ends when its parent does.
 */
export function serveProcess<Data>(start: (data: Data) => Promise<ProcessHandler> | ProcessHandler): void {
  let handler: Promise<ProcessHandler> | undefined;
  const read = frameReader(bodyBytesMax, ({ head, body }) => {
    if (handler === undefined) {
      handler = Promise.resolve().then(() => start(head as Data));
      handler.then(
        () => writeFrame(channel, { type: "ready" }),
        (error) => writeFrame(channel, { type: "failed", error: toWire(error) }),
      );
      return;
    }
    handler
      .then((handle) => handle(head as never, body))
      .then(
        ({ result, body: answer }) => writeFrame(channel, { type: "result", result }, answer),
        (error) => writeFrame(channel, { type: "error", error: toWire(error) }),
      );
  });
  const buffer = Buffer.allocUnsafeSlow(pieceBytes);
  const callback = (bytes: number) => {
    read(buffer.subarray(0, bytes));
    return true; // Go on reading.
  };
  const channel = new Socket({ fd: channelFd, readable: true, writable: true, onread: { buffer, callback } });
  // Without the parent nobody wants an answer or sets a limit. An ordinary exit would wait for threads in native code.
  const end = () => process.kill(process.pid, "SIGKILL");
  channel.on("close", end);
  channel.on("end", end);
  channel.on("error", end);
  channel.resume();
}
