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
  // Both in one system call.
  stream.cork();
  stream.write(prefix);
  if (body.length > 0) stream.write(body);
  stream.uncork();
}

/**
 * Puts the pieces of a stream together and hands on each frame when it is whole. The function that it returns takes the next piece, and
 * keeps none of it. It throws on a frame larger than `bodyBytesMax` or a head that is no JSON: the other side is not what it was taken
 * for, and nothing that follows has a meaning.
 */
export function frameReader(bodyBytesMax: number, onFrame: (frame: Frame) => void): (piece: Uint8Array) => void {
  let prefix = Buffer.alloc(0);
  let head: unknown;
  let body: Uint8Array<ArrayBuffer> | undefined;
  let filled = 0;
  return (piece) => {
    let rest = piece;
    while (rest.length > 0) {
      if (body === undefined) {
        // Heads are small, so that joining their pieces costs nothing.
        prefix = Buffer.concat([prefix, rest]);
        if (prefix.length < prefixBytes) return;
        const [headBytes, bodyBytes] = [prefix.readUInt32LE(0), prefix.readUInt32LE(4)];
        if (headBytes > headBytesMax || bodyBytes > bodyBytesMax) throw new Error("A frame is too large.");
        if (prefix.length < prefixBytes + headBytes) return;
        head = JSON.parse(prefix.toString("utf8", prefixBytes, prefixBytes + headBytes));
        rest = prefix.subarray(prefixBytes + headBytes);
        prefix = Buffer.alloc(0);
        body = new Uint8Array(bodyBytes);
        filled = 0;
      }
      const part = rest.subarray(0, body.length - filled);
      body.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
      if (filled < body.length) return;
      const frame = { head, body };
      body = undefined;
      onFrame(frame);
    }
  };
}
