import { CacheResult } from "@florence/proto/encoder";
import type { Fault } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildModel, fixture, large, plain, startStack } from "./stack.ts";

const resources = new AsyncDisposableStack();
let built: Awaited<ReturnType<typeof buildModel>>;
let stack: Awaited<ReturnType<typeof startStack>>;
beforeAll(async () => {
  built = resources.use(await buildModel());
  stack = resources.use(
    await startStack(built, { FLORENCE_UPLOAD_BYTES_MAX: "1000000", FLORENCE_PIXELS_MAX: "20000000" }),
  );
});
afterAll(() => resources.disposeAsync());

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (fault: Fault) => fault.code,
  );

test("each unusable image is refused with its own code, and the service goes on", async () => {
  const jpeg = fixture("images/jpeg-q85-s2.jpg");
  const unusable: [code: string, image: Uint8Array][] = [
    ["image_missing", new Uint8Array()],
    ["image_too_large", new Uint8Array(1_000_001)],
    ["image_type_unsupported", Buffer.from("This is not an image.")],
    ["image_type_unsupported", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')],
    ["image_undecodable", jpeg.subarray(0, jpeg.length / 2)],
    ["image_undecodable", jpeg.subarray(0, 20)],
    ["image_too_many_pixels", await plain(1, 5000, 4001)],
  ];
  const codes = await Promise.all(unusable.map(([, image]) => codeOf(stack.client.encode({ image }))));
  expect(codes).toEqual(unusable.map(([code]) => code));
  for (const [width, height] of [
    [1, 1],
    [5000, 20],
    [5000, 4000],
  ] as const) {
    await expect(stack.client.encode({ image: await plain(9, width, height) })).resolves.toMatchObject({
      width,
      height,
    });
  }
});

test("keys that are malformed or unknown are told apart", async () => {
  const { key } = await stack.client.encode({ image: await plain(2) });
  const unknown = key.replace(/[0-9a-f]{64}/, "0".repeat(64));
  expect(await codeOf(stack.client.getEmbedding({ key: unknown }))).toBe("embedding_evicted");
  expect(await codeOf(stack.client.getEmbedding({ key: "../../etc/passwd" }))).toBe("body_invalid");
});

test("a caller that goes away does not disturb those who wait for the same image", async () => {
  const image = await large();
  const before = await stack.encoded();
  const leaving = new AbortController();
  const first = codeOf(stack.client.encode({ image }, { signal: leaving.signal }));
  const others = [stack.client.encode({ image }), stack.client.encode({ image })];
  await stack.client.getEncoderModel({}); // Calls of one connection arrive in order: all three are under way by now.
  leaving.abort();
  expect(await first).toBe("cancelled");
  const answers = await Promise.all(others);
  expect(answers.map(({ cacheResult }) => cacheResult)).toEqual([CacheResult.COALESCED, CacheResult.COALESCED]);
  expect((await stack.encoded()) - before).toBe(1);
});

test("an image that every caller has left can be sent again", async () => {
  const image = await plain(0x112233, 5000, 4000);
  expect(await codeOf(stack.client.encode({ image }, { deadlineMs: 20 }))).toBe("deadline_exceeded");
  const answer = await stack.client.encode({ image });
  expect(answer).toMatchObject({ width: 5000, height: 4000 });
});

test("images beyond the places and the queue are refused at once; hits and joined calls need no place", async () => {
  await using small = await startStack(built, {
    FLORENCE_ENCODER_IMAGES_MAX: "1",
    FLORENCE_ENCODER_QUEUE_MAX: "1",
  });
  const known = await plain(3);
  await small.client.encode({ image: known });
  const image = await large();
  const holding = small.client.encode({ image });
  const queued = small.client.encode({ image: await plain(4) });
  const refused = small.client.encode({ image: await plain(5) });
  const joined = small.client.encode({ image });
  await expect(refused).rejects.toMatchObject({ code: "overloaded", retryAfterS: 1 });
  await expect(small.client.encode({ image: known })).resolves.toMatchObject({ cacheResult: CacheResult.HIT });
  await expect(joined).resolves.toMatchObject({ cacheResult: CacheResult.COALESCED });
  await expect(holding).resolves.toMatchObject({ cacheResult: CacheResult.MISS });
  await expect(queued).resolves.toMatchObject({ cacheResult: CacheResult.MISS });
});
