import { countEvents } from "@florence/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encoderEvents } from "../src/encoder.ts";
import { buildModel, plain, startStack } from "./stack.ts";

const resources = new AsyncDisposableStack();
const { counts, listener } = countEvents(encoderEvents);
const outcomes: string[] = [];
let stack: Awaited<ReturnType<typeof startStack>>;
beforeAll(async () => {
  const { model } = resources.use(await buildModel());
  const hear = { imageAnswered: ({ outcome }: { outcome: string }) => void outcomes.push(outcome) };
  stack = resources.use(await startStack({ model, listeners: [listener, hear] }));
});
afterAll(() => resources.disposeAsync());

test("every step of an image's way is said once, and a second call says that it was found", async () => {
  const image = await plain(1);
  await stack.client.encode({ image });
  const once = {
    imageAdmitted: 1,
    imageDecoded: 1,
    imageQueued: 1,
    batchRun: 1,
    imageEncoded: 1,
    embeddingStored: 1,
    imageAnswered: 1,
    callRefused: 0,
  };
  expect(counts).toMatchObject({ ...once, imageLookedUp: 0 });
  await stack.client.encode({ image });
  expect(counts).toMatchObject({ ...once, imageAnswered: 2, imageLookedUp: 1 });
  expect(outcomes).toEqual(["miss", "hit"]);
});

test("calls that join another's work and calls that are refused are told apart", async () => {
  const image = await plain(2, 3000, 2000);
  const joinedBefore = counts.imageJoined;
  await Promise.all([stack.client.encode({ image }), stack.client.encode({ image }), stack.client.encode({ image })]);
  expect(counts.imageJoined - joinedBefore).toBe(2);
  await expect(stack.client.encode({})).rejects.toMatchObject({ code: "image_missing" });
  expect(counts).toMatchObject({ callRefused: 1, callFailed: 0 });
});

test("the count of encoded images that it tells others is what was heard", async () => {
  expect(counts.imageEncoded).toBeGreaterThan(0);
  expect(await stack.encoded()).toBe(counts.imageEncoded);
});
