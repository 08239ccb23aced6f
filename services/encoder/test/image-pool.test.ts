import { createEvents, toFault } from "@florence/service";
import { processEvents } from "@florence/worker";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { idleBytesMax, limitsOf, mostBytes } from "../src/image-limits.ts";
import { ImagePool } from "../src/image-pool.ts";
import { large, plain } from "./stack.ts";

const { signal } = new AbortController();
const upright = { ignoreOrientation: false };
const options = { size: 64, pixelsMax: 20_000_000, count: 2, waitingMax: 16, events: createEvents(processEvents) };

/** A pool in which each image may take so much, and what happened to its processes. */
async function limited(limits: { timeMsMax: number; memoryBytesMax: number }, count = 2) {
  const heard: string[] = [];
  const events = createEvents(processEvents, [{ processKilled: ({ why }) => heard.push(why) }]);
  const started = await ImagePool.start({ ...options, count, events, limits: () => ({ ...limits, large: false }) });
  return { pool: started, heard, [Symbol.asyncDispose]: () => started[Symbol.asyncDispose]() };
}
const hasty = { timeMsMax: 10, memoryBytesMax: 300 * 1024 ** 2 };

let pool: ImagePool;
beforeAll(async () => {
  pool = await ImagePool.start(options);
});
afterAll(() => pool?.[Symbol.asyncDispose]());

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (error: unknown) => toFault(error).code,
  );

test("an image comes back as pixels with memory of their own, with its size and digest", async () => {
  const { width, height, sha256, pixels, preprocessMs } = await pool.prepare(
    await plain(0x102030, 30, 20),
    upright,
    signal,
  );
  expect({ width, height }).toEqual({ width: 30, height: 20 });
  expect(sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(preprocessMs).toBeGreaterThan(0);
  expect(pixels.buffer.byteLength).toBe(64 * 64 * 3);
  expect(pixels.subarray(0, 3)).toEqual(new Uint8Array([0x30, 0x20, 0x10]));
});

test("images larger than those that run side by side are opened, and those beyond the limit are not", async () => {
  const tooLarge = await plain(1, 5000, 4001);
  await expect(pool.prepare(await large(), upright, signal)).resolves.toMatchObject({ width: 5000, height: 4000 });
  expect(await codeOf(pool.prepare(tooLarge, upright, signal))).toBe("image_too_many_pixels");
  const error = await pool.prepare(tooLarge, upright, signal).catch((e: Error) => e);
  expect((error as Error).message).toContain("20000000");
});

test("what an image may take grows with its pixels, and no image may take more than the largest", () => {
  const pixelsMax = 50e6;
  const [least, most, beyond] = [1, pixelsMax, 1e9].map((pixels) => limitsOf({ type: "jpeg", pixels }, 0, pixelsMax));
  expect(most?.timeMsMax).toBeGreaterThan(least?.timeMsMax as number);
  expect(most?.memoryBytesMax).toBeGreaterThan(least?.memoryBytesMax as number);
  expect(beyond).toEqual(most);
  expect([least?.large, most?.large]).toEqual([false, true]);
  expect(limitsOf({ type: "heic", pixels: pixelsMax }, 0, pixelsMax).memoryBytesMax).toBe(mostBytes(pixelsMax));
  // A process that keeps what it may must not be killed for the next image's few bytes.
  expect(idleBytesMax + 32 * 1024 ** 2).toBeLessThan(least?.memoryBytesMax as number);
});

test("many large images at once leave a process to a small one, and all are answered", async () => {
  const files = await Promise.all([1, 2, 3, 4].map((colour) => plain(colour, 5000, 4000)));
  const order: string[] = [];
  const calls = files.map((file) => pool.prepare(file, upright, signal).then(() => order.push("large")));
  await pool.prepare(await plain(7), upright, signal).then(() => order.push("small"));
  await Promise.all(calls);
  expect(order).toHaveLength(5);
  expect(order.at(-1)).toBe("large");
});

test("a file that takes too long is undecodable, kills one process, and none when it comes again", async () => {
  await using started = await limited(hasty);
  const { pool, heard } = started;
  const file = await large();
  const [first, second] = [
    pool.prepare(file, upright, signal),
    pool.prepare(file, { ignoreOrientation: true }, signal),
  ].map((call) => call.catch((error: unknown) => error));
  for (const error of [await first, await second])
    expect(error).toMatchObject({ code: "image_undecodable", detail: "The image takes too long to decode." });
  // The two came at the same time, so neither knew of the other.
  expect(heard).toEqual(["time", "time"]);
  for (let again = 0; again < 10; again++)
    expect(await codeOf(pool.prepare(file, upright, signal))).toBe("image_undecodable");
  expect(heard).toHaveLength(2);
  expect(pool.ready).toBe(true);
});

test("a file is remembered also when whoever sent it has gone before its process was killed", async () => {
  await using started = await limited(hasty, 1);
  const { pool, heard } = started;
  const file = await plain(8, 4000, 3900);
  const leaving = new AbortController();
  const call = pool.prepare(file, upright, leaving.signal);
  leaving.abort();
  expect(await codeOf(call)).toBe("cancelled");
  while (heard.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(await codeOf(pool.prepare(file, upright, signal))).toBe("image_undecodable");
  expect(heard).toEqual(["time"]);
});

test.skipIf(process.platform !== "linux")("a file that takes too much memory is undecodable", async () => {
  await using started = await limited({ timeMsMax: 30_000, memoryBytesMax: 100 * 1024 ** 2 });
  const { pool } = started;
  const noise = crypto.getRandomValues(new Uint8Array(65_536));
  const rgb = Buffer.alloc(9_000_000 * 3, noise);
  const file = new Uint8Array(
    await sharp(rgb, { raw: { width: 3000, height: 3000, channels: 3 } })
      .png({ compressionLevel: 1 })
      .toBuffer(),
  );
  await expect(pool.prepare(file, upright, signal)).rejects.toMatchObject({ code: "image_undecodable" });
});
