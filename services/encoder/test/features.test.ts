import { EmbeddingCodec, headerBytes, Seal } from "@florence/embeddings";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildModel, fixture, startStack } from "./stack.ts";

interface Golden {
  image: string;
  imageSize: [width: number, height: number];
  features?: { shape: number[]; at: number[]; values: number[] };
}

type Stack = Awaited<ReturnType<typeof startStack>>;

const resources = new AsyncDisposableStack();
let stack: Stack;
beforeAll(async () => {
  const { model } = resources.use(await buildModel("test/fixtures/odd-windows/native"));
  stack = resources.use(await startStack({ model }));
});
afterAll(() => resources.disposeAsync());

async function featuresOf({ client }: Stack, image: Uint8Array) {
  const { key, width, height } = await client.encode({ image, ignoreOrientation: true });
  const decoded = new EmbeddingCodec(new Seal()).decode(key, (await client.getEmbedding({ key })).value);
  if (!("embedding" in decoded)) throw new Error(`The value does not verify: ${decoded.flaw}.`);
  return { width, height, ...decoded.embedding };
}

test("features equal the reference's", async () => {
  const { cases } = JSON.parse(Buffer.from(fixture("odd-windows/goldens.json")).toString()) as { cases: Golden[] };
  const goldens = cases.filter(({ features }) => features !== undefined);
  expect(goldens.length).toBeGreaterThan(0);
  for (const { image, imageSize, features } of goldens) {
    const { width, height, dims, data } = await featuresOf(stack, fixture(`odd-windows/${image}`));
    expect([width, height]).toEqual(imageSize);
    expect([1, ...dims]).toEqual(features?.shape);
    for (const [index, at] of (features?.at ?? []).entries()) {
      const golden = features?.values[index] as number;
      expect(Math.abs((data[at] as number) - golden)).toBeLessThanOrEqual(2e-4 + 1e-3 * Math.abs(golden));
    }
  }
});

test("an fp16 build's features take half the bytes, and are the same numbers stored and not", async () => {
  await using built = await buildModel("test/fixtures/odd-windows/native", "fp16");
  await using half = await startStack({ model: built.model });
  const image = fixture("odd-windows/picture-0.png");
  const { key } = await half.client.encode({ image, ignoreOrientation: true });
  expect(key).toContain(".f16.");
  const { value } = await half.client.getEmbedding({ key });
  expect(value.length).toBe(headerBytes + 26 * 64 * 2);
  const stored = await featuresOf(half, image);
  const whole = await featuresOf(stack, image);
  expect(Math.max(...stored.data.map((x, i) => Math.abs(x - (whole.data[i] as number))))).toBeLessThan(2e-3);
  expect(stored.data.every((x) => x === Math.f16round(x))).toBe(true);
});

test("the model is described as its manifest says", async () => {
  const { model } = await stack.client.getEncoderModel({});
  expect(model).toMatchObject({ name: "native", precision: "fp32", imageSize: 160, imageTokens: 26, hiddenSize: 64 });
  expect(model?.digest).toMatch(/^[0-9a-f]{64}$/);
});
