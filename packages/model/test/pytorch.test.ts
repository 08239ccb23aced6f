import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readFloat32 } from "../src/checkpoint/convert.ts";
import { readPytorchHeader } from "../src/checkpoint/pytorch.ts";
import { ModelError } from "../src/index.ts";
import { fixtures, temporaryFolder } from "./model-fixture.ts";
import { random } from "./random.ts";
import { pickleText, type Tensors, writePytorch } from "./weight-files.ts";

const state = join(fixtures, "variants/state.bin");
const expected: Record<string, { shape: number[]; values: number[] }> = JSON.parse(
  readFileSync(join(fixtures, "variants/goldens.json"), "utf8"),
).pytorch;

function refusal(file: string): ModelError {
  try {
    readPytorchHeader(file);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("the file was accepted");
}

test("torch.save's own file: every tensor has its numbers, however it lies in its storage", () => {
  const tensors = readPytorchHeader(state);
  expect([...tensors.keys()].sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { shape, values }] of Object.entries(expected)) {
    const tensor = tensors.get(name) as NonNullable<ReturnType<typeof tensors.get>>;
    expect(tensor.shape, name).toEqual(shape);
    expect([...readFloat32(tensor)], name).toEqual(values);
  }
  expect(tensors.get("transposed")?.strides).toEqual([1, 4]);
});

describe("what a pickle may not do is refused by name, and nothing of it is run", () => {
  const some: Tensors = new Map([["a", { dtype: "F32", shape: [1], bytes: Buffer.alloc(4) }]]);
  const codes: [what: string, code: Buffer | string, says: RegExp][] = [
    ["calls a function", "cos\nsystem\n)R", /names os\.system/],
    ["loads from bytes", "ctorch.storage\n_load_from_bytes\n)R", /names torch\.storage\._load_from_bytes/],
    ["names a builtin", "cbuiltins\neval\n", /names builtins\.eval/],
    [
      "names on the stack",
      Buffer.concat([pickleText("os"), pickleText("system"), Buffer.from([0x93])]),
      /names os\.system/,
    ],
    ["makes an object", "ctorch\nFloatStorage\n)\x81", /uses the opcode 0x81/],
    ["makes an object, older", "(ios\nsystem\n", /uses the opcode 0x69/],
    ["asks a registry", "\x82\x01", /uses the opcode 0x82/],
    ["sets attributes", "ctorch\nFloatStorage\n}b", /sets attributes of an object/],
    ["calls what it made", "})R", /calls what is no name/],
    ["fills a dictionary while building it", "ccollections\nOrderedDict\n](]e\x85R", /fills a dictionary/],
    ["holds a number without end", Buffer.concat([Buffer.from([0x8a, 0xff]), Buffer.alloc(255)]), /more than 64 bits/],
  ];
  test.each(codes)("%s", (_, code, says) => {
    using folder = temporaryFolder();
    const file = join(folder.path, "pytorch_model.bin");
    const extra = typeof code === "string" ? Buffer.from(code, "latin1") : code;
    writePytorch(file, some, { extra: Buffer.concat([pickleText("x"), extra]) });
    expect(refusal(file)).toMatchObject({ code: "checkpoint_unsupported", message: expect.stringMatching(says) });
  });

  test("a compressed archive", () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "pytorch_model.bin");
    writePytorch(file, some, { method: 8 });
    expect(refusal(file)).toMatchObject({ code: "checkpoint_unsupported", message: /compressed or encrypted/ });
  });

  test("tensors that reach outside their bytes, or repeat them", () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "pytorch_model.bin");
    const tensor = { dtype: "F32", bytes: Buffer.alloc(16) } as const;
    writePytorch(file, new Map([["a", { ...tensor, shape: [5] }]]));
    expect(refusal(file).code).toBe("checkpoint_truncated");
    const bytes = readFileSync(state);
    // 3 x 4 numbers become 12 x 4: the shape's first number follows "K" and stands before "K\x04\x86".
    const at = bytes.indexOf(Buffer.from("4b034b0486", "hex"));
    expect(at).toBeGreaterThan(0);
    bytes[at + 1] = 12;
    writeFileSync(file, bytes);
    expect(refusal(file)).toMatchObject({ code: "checkpoint_unsupported", message: /repeats its numbers/ });
  });
});

test("a damaged file is refused with a code of its own, wherever it is cut or changed", () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "pytorch_model.bin");
  const whole = readFileSync(state);
  const next = random(7);
  let refused = 0;
  for (let i = 0; i < 600; i++) {
    const bytes = Buffer.from(whole.subarray(0, i % 3 === 0 ? Math.floor(next() * whole.length) : whole.length));
    for (let flips = i % 3 === 0 ? 0 : 4; flips > 0; flips--)
      bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    writeFileSync(file, bytes);
    try {
      for (const tensor of readPytorchHeader(file).values()) readFloat32(tensor);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelError);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(250);
});
