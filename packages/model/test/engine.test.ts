import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Device, engines, openGraph, type Provider } from "../src/engine/device.ts";
import {
  float32Tensor,
  int32Tensor,
  type NumberType,
  numbersOf,
  type Tensor,
  uint8Tensor,
} from "../src/engine/engine.ts";
import { Graph } from "../src/graphs/graph.ts";
import { temporaryFolder } from "./model-fixture.ts";

const tensors: Record<NumberType, Tensor> = {
  float32: float32Tensor(Float32Array.of(1.5, -2, 3), [3]),
  int32: int32Tensor([1, -2, 3], [3]),
  uint8: uint8Tensor(Uint8Array.of(1, 2, 255), [3]),
};

/** y = x, and twice = x + x where numbers are float32. */
function copyGraph(type: NumberType): Uint8Array {
  const graph = new Graph("copy");
  const x = graph.input("x", type, ["N"]);
  graph.output("y", x, type, ["N"]);
  if (type === "float32") graph.output("twice", graph.op("Add", [x, x]), type, ["N"]);
  return graph.finish();
}

describe.each(Object.keys(engines) as Provider[])("%s", (provider) => {
  const device: Device = { provider, threads: 1 };
  const { abilities } = engines[provider];
  const open = async (type: NumberType) => {
    using folder = temporaryFolder();
    const file = join(folder.path, "copy.onnx");
    writeFileSync(file, copyGraph(type));
    return await openGraph(file, device);
  };

  test("numbers of every type that it names come back as they went in", async () => {
    expect(abilities.numbers.length).toBeGreaterThan(0);
    for (const type of abilities.numbers) {
      await using session = await open(type);
      const x = tensors[type];
      const { y } = await session.run({ x }, ["y"]);
      expect(y).toMatchObject({ type, dims: [3] });
      expect(y?.data).toEqual(x.data);
    }
  });

  test("only the outputs that were asked for come back", async () => {
    await using session = await open("float32");
    const out = await session.run({ x: tensors.float32 }, ["twice"]);
    expect(Object.keys(out)).toEqual(["twice"]);
    expect(numbersOf(out, "twice", "float32")).toEqual(Float32Array.of(3, -4, 6));
    expect(() => numbersOf(out, "y", "float32")).toThrow("y is missing");
    expect(() => numbersOf(out, "twice", "int32")).toThrow("twice is float32, not int32");
  });

  test.runIf(abilities.writesInPlace)("an output is written into the caller's memory", async () => {
    await using session = await open("float32");
    const pool = new Float32Array(8).fill(7);
    const twice = float32Tensor(pool.subarray(2, 5), [3]);
    const out = await session.run({ x: tensors.float32 }, { twice });
    expect(pool).toEqual(Float32Array.of(7, 7, 3, -4, 6, 7, 7, 7));
    expect(out.twice?.data.buffer).toBe(pool.buffer);
  });

  test("a file that is no graph, and an input that is missing or of another type or shape, reject", async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "broken.onnx");
    writeFileSync(file, "not a graph");
    await expect(openGraph(file, device)).rejects.toThrow();
    await expect(openGraph(join(folder.path, "none.onnx"), device)).rejects.toThrow();
    await using session = await open("float32");
    await expect(session.run({}, ["y"])).rejects.toThrow();
    await expect(session.run({ x: tensors.int32 }, ["y"])).rejects.toThrow();
    await expect(session.run({ x: float32Tensor(new Float32Array(3), [4]) }, ["y"])).rejects.toThrow();
  });
});
