import { Socket } from "node:net";
import { toWire } from "../protocol.ts";
import { readFrames, writeFrame } from "./frame.ts";

/** The file descriptor over which a child process talks with its parent: stdin, stdout and stderr stay what they are. */
export const channelFd = 3;

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
export async function serveProcess<Data>(
  start: (data: Data) => Promise<ProcessHandler> | ProcessHandler,
  bodyBytesMax: number,
): Promise<void> {
  const channel = new Socket({ fd: channelFd, readable: true, writable: true });
  channel.on("close", () => process.exit());
  channel.on("error", () => process.exit(1));
  let handler: Promise<ProcessHandler> | undefined;
  readFrames(channel, bodyBytesMax, ({ head, body }) => {
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
}
