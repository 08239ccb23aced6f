import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Answer, annotateJson, annotateRaw } from "./support/annotate.ts";
import { fixture, startServices, type TestServices } from "./support/services.ts";

let services: TestServices;
const png = fixture("drawn/scene-900000.png");
const jpeg = fixture("drawn/scene-900002.jpg");
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

beforeAll(async () => {
  services = await startServices("models/florence-2-drawn");
});
afterAll(() => services[Symbol.asyncDispose]());
afterEach(async () => {
  const good = await annotateRaw(services.url, png, "task=caption&num_beams=1");
  expect(good.status, "the server answers after each").toBe(200);
});

function refused(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.code }).toEqual({ status, code });
  expect(answer.detail?.length).toBeGreaterThan(10);
}

describe("a bad image is refused with its own code", () => {
  const caption = "task=caption&num_beams=1";
  test("text", async () =>
    refused(await annotateRaw(services.url, bytes("not an image at all"), caption), 415, "image_type_unsupported"));
  test("SVG", async () =>
    refused(
      await annotateRaw(services.url, bytes('<svg xmlns="http://www.w3.org/2000/svg"/>'), caption),
      415,
      "image_type_unsupported",
    ));
  test("a JPEG that ends half way", async () =>
    refused(
      await annotateRaw(services.url, jpeg.subarray(0, jpeg.length / 2), caption, "image/jpeg"),
      422,
      "image_undecodable",
    ));
  test("nothing", async () =>
    refused(await annotateRaw(services.url, new Uint8Array(), caption), 400, "image_missing"));
  test("20 MB", async () =>
    refused(await annotateRaw(services.url, new Uint8Array(20_000_000), caption), 413, "image_too_large"));
  test("a PNG of 16,000 x 16,000 in a few kilobytes", async () =>
    refused(await annotateRaw(services.url, hugePng(16_000), caption), 413, "image_too_many_pixels"));
});

describe("a bad task is refused with its own code", () => {
  const ask = (task: object) => annotateJson(services.url, png, [task as { task: string }], { num_beams: 1 });
  const inResult = (answer: Answer) => answer.results?.[0]?.error?.code ?? answer.code;
  test("unknown", async () => refused(await ask({ task: "make_coffee" }), 400, "task_unknown"));
  test("without its input", async () => refused(await ask({ task: "phrase_grounding" }), 400, "task_input_missing"));
  test("with input that it does not take", async () =>
    refused(await ask({ task: "caption", text: "a cat" }), 400, "task_input_unexpected"));
  test("with a region outside the image", async () =>
    expect(inResult(await ask({ task: "region_ocr", region: { x1: 0, y1: 0, x2: 99_999, y2: 10 } }))).toBe(
      "region_invalid",
    ));
  test("with an inverted region", async () =>
    expect(inResult(await ask({ task: "region_ocr", region: { x1: 50, y1: 0, x2: 10, y2: 10 } }))).toBe(
      "region_invalid",
    ));
  test("with 500 classes, past the position table", async () => {
    const text = Array.from({ length: 500 }, (_, i) => `c${i}`);
    expect(inResult(await ask({ task: "open_vocabulary_detection", text }))).toBe("prompt_too_long");
  });
  test("with a text within the character limit that is past the position table", async () =>
    expect(inResult(await ask({ task: "phrase_grounding", text: "x y ".repeat(450) }))).toBe("prompt_too_long"));
  test("beside good ones, which are answered", async () => {
    const answer = await annotateJson(
      services.url,
      png,
      [{ task: "caption" }, { task: "region_ocr", region: { x1: 0, y1: 0, x2: 99_999, y2: 1 } }],
      { num_beams: 1 },
    );
    expect(answer.status).toBe(200);
    expect(answer.results[0]?.text).toContain("<s>");
    expect(answer.results[1]?.error?.code).toBe("region_invalid");
  });
});

test("options out of range are refused", async () => {
  refused(await annotateRaw(services.url, png, "task=caption&num_beams=9"), 400, "option_invalid");
  refused(await annotateRaw(services.url, png, "task=caption&max_new_tokens=0"), 400, "option_invalid");
  refused(await annotateRaw(services.url, png, "task=caption&max_new_tokens=900"), 400, "option_invalid"); // the table has 512 positions
});

test("an image of one pixel and one of 5,000 x 20 are good input", async () => {
  for (const [width, height] of [
    [1, 1],
    [5000, 20],
  ] as const) {
    const image = await sharp({ create: { width, height, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    const answer = await annotateRaw(services.url, new Uint8Array(image), "task=object_detection&num_beams=1");
    expect(answer.status).toBe(200);
    expect(answer.image).toMatchObject({ width, height });
  }
});

/** A valid PNG header that promises `side` x `side` pixels. */
function hugePng(side: number): Uint8Array<ArrayBuffer> {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length);
    body.copy(out, 4);
    out.writeUInt32BE(crc32(body), body.length + 4);
    return out;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const rows = deflateSync(Buffer.alloc((side + 1) * side));
  return new Uint8Array(
    Buffer.concat([
      Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]),
      chunk("IHDR", header),
      chunk("IDAT", rows),
      chunk("IEND", Buffer.alloc(0)),
    ]),
  );
}
