import type { Duplex } from "node:stream";

// What crosses a process boundary: a head of JSON and a body of bytes, each after its length.
//    0  length of the head   uint32, little-endian
//    4  length of the body   uint32
//    8  the head, then the body
const prefixBytes = 8;

/** One message between two processes. */
export interface Frame {
  readonly head: unknown;
  /** Its own memory. */
  readonly body: Uint8Array<ArrayBuffer>;
}

// Heads say what a body is; a megabyte of it is somebody else's message.
const headBytesMax = 1024 * 1024;

/** Writes a frame; the body must not change before it is written. */
export function writeFrame(stream: Duplex, head: unknown, body: Uint8Array = new Uint8Array(0)): void {
  const json = Buffer.from(JSON.stringify(head));
  const prefix = Buffer.alloc(prefixBytes + json.length);
  prefix.writeUInt32LE(json.length, 0);
  prefix.writeUInt32LE(body.length, 4);
  json.copy(prefix, prefixBytes);
  stream.write(prefix);
  if (body.length > 0) stream.write(body);
}

/**
 * Hands on each frame of a stream when it is whole. A frame larger than `bodyBytesMax`, or a head that is no JSON, destroys the stream
 * with an error: the other side is not what it was taken for.
 */
export function readFrames(stream: Duplex, bodyBytesMax: number, onFrame: (frame: Frame) => void): void {
  let prefix = Buffer.alloc(0);
  let lengths: { head: number; body: number } | undefined;
  let head: unknown;
  let body = new Uint8Array(0);
  let filled = 0;
  stream.on("data", (data: Buffer) => {
    try {
      take(data);
    } catch (error) {
      stream.destroy(error as Error);
    }
  });

  function take(data: Buffer): void {
    let rest = data;
    while (rest.length > 0) {
      if (lengths === undefined || head === undefined) {
        // Heads are small, so that joining their pieces costs nothing.
        prefix = Buffer.concat([prefix, rest]);
        rest = prefix;
        if (prefix.length < prefixBytes) return;
        lengths = { head: prefix.readUInt32LE(0), body: prefix.readUInt32LE(4) };
        if (lengths.head > headBytesMax || lengths.body > bodyBytesMax) throw new Error("A frame is too large.");
        if (prefix.length < prefixBytes + lengths.head) return;
        head = JSON.parse(prefix.subarray(prefixBytes, prefixBytes + lengths.head).toString());
        rest = prefix.subarray(prefixBytes + lengths.head);
        prefix = Buffer.alloc(0);
        body = new Uint8Array(lengths.body);
        filled = 0;
      }
      const part = rest.subarray(0, body.length - filled);
      body.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled < body.length) return;
      const frame = { head, body };
      lengths = undefined;
      head = undefined;
      onFrame(frame);
    }
  }
}
