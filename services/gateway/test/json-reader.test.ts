import { Fault } from "@florence/service";
import { expect, test } from "vitest";
import { ImageData } from "../src/annotate/image-data.ts";
import { HeldBytes } from "../src/http/held-bytes.ts";
import { JsonReader, parseJson } from "../src/http/json-reader.ts";

const tooLarge = (bytesMax: number) => new Fault("body_too_large", `${bytesMax}`);
const code = (name: string) => expect.objectContaining({ code: name });
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * 31);
const base64 = Buffer.from(bytes).toString("base64");

/** Reads a body in pieces of a size: what it says beside the image, and the image. */
function read(text: string, pieceBytes: number, { rest = 10_000, image = 10_000 } = {}) {
  using account = new HeldBytes(1e9).open("");
  const data = new ImageData(image, account);
  const reader = new JsonReader(rest, tooLarge, { path: ["image", "data"], sink: data });
  const all = new TextEncoder().encode(text);
  for (let at = 0; at < all.length; at += pieceBytes) reader.write(all.subarray(at, at + pieceBytes));
  return { body: reader.end("body"), image: Buffer.from(data.bytes) };
}

const sizes = [1, 2, 3, 5, 64, 1_000_000];

test("in pieces of any size a body reads as JSON.parse reads it, with its image apart", () => {
  const spellings = {
    plain: base64,
    "escaped slashes": base64.replaceAll("/", "\\/").replaceAll("=", "\\u003d"),
    "line breaks": base64.replace(/(.{76})/g, "$1\\n"),
    "mail's lines, indented": base64.replace(/(.{76})/g, "$1\\r\\n\\t  "),
    "a data: URL in lines": `data:image/png;base64,\\r\\n ${base64.replace(/(.{76})/g, "$1\\r\\n ")}`,
    "both line breaks": base64.replace(/(.{60})/g, "$1\\r\\n"),
    "a data: URL": `data:image/png;charset=x;base64,${base64}`,
    "an escaped data: URL": `data:image\\/png;base64,${base64}`,
    url: Buffer.from(bytes).toString("base64url"),
  };
  for (const [what, data] of Object.entries(spellings)) {
    const before = `{"tasks":[{"task":"a\\"b\\\\","text":"ü€😀 \\ud83d\\ude00 {[,:]}"}],"n":-1.5e3,`;
    for (const text of [
      `${before}"image":{"data":"${data}"},"stream":true}`,
      `{"image" : { "x": {"data": "no"}, "data" : "${data}" } }`,
      `{"im\\u0061ge":{"d\\u0061ta":"${data}","url":null}}`,
    ]) {
      const expected = JSON.parse(text) as { image: { data: string } };
      expected.image.data = "";
      for (const size of sizes)
        expect(read(text, size), `${what} by ${size}`).toEqual({ body: expected, image: Buffer.from(bytes) });
    }
  }
});

test("a string that is not the image's data stays one, wherever it stands", () => {
  for (const text of [
    '{"data":"x!","options":{"data":"y!"},"image":{"url":"data","nested":{"data":"z!"},"list":["data"]}}',
    '[{"image":{"data":"!"}}]',
    '{"image":["data","!"]}',
    '{"image":{"data":["!"]}}',
    '{"image":{"data":{"data":"!"}}}',
    '{"image":"data"}',
    '{"image":{"data":null}}',
    '"image"',
    "17",
  ])
    for (const size of sizes) expect(read(text, size)).toEqual({ body: JSON.parse(text), image: Buffer.alloc(0) });
});

test("what is not JSON is refused, cut off anywhere or with anything in between", () => {
  const whole = `{"a":[1,{"b":null}],"image":{"data":"${base64}"}}`;
  for (let end = 0; end < whole.length; end++) {
    expect(() => read(whole.slice(0, end), 64), whole.slice(0, end)).toThrow(code("body_invalid"));
  }
  for (const text of [
    "{,}",
    "{]",
    '{"image":{"data":"AA" "AA"}}',
    '{"a":1}}',
    "{'a':1}",
    "NaN",
    '{"a":"\n"}',
    "\u0000",
  ])
    for (const size of sizes) expect(() => read(text, size), text).toThrow(code("body_invalid"));
  const notText = Uint8Array.from([...Buffer.from('{"a":"'), 0xff, 0xfe, ...Buffer.from('"}')]);
  expect(() => parseJson(notText, "body")).toThrow(code("body_invalid"));
});

test("what is no base64 is refused as soon as it comes", () => {
  for (const data of [
    "!",
    "AAA!",
    "A",
    "AAAAA",
    "A=AA",
    "====",
    "\\u20ac",
    "\\u00zz",
    "\\b",
    "A A A A A",
    "ü",
    "data:x,AA",
    "data:",
    "data:;base64",
    "\\\\",
    '\\"',
  ])
    for (const size of sizes)
      expect(() => read(`{"image":{"data":"${data}"}}`, size), data).toThrow(code("body_invalid"));
  const reader = new JsonReader(1000, tooLarge, {
    path: ["image", "data"],
    sink: new ImageData(1e6, new HeldBytes(1e9).open("")),
  });
  expect(() => reader.write(Buffer.from('{"image":{"data":"AAAA!'))).toThrow(code("body_invalid"));
});

test("the image and its data are given once", () => {
  for (const text of [
    '{"image":{"data":"AAAA"},"image":{"id":"x"}}',
    '{"image":{"data":"AAAA","data":"BBBB"}}',
    '{"image":{"id":"x"},"im\\u0061ge":{"data":"BBBB"}}',
  ])
    for (const size of sizes) expect(() => read(text, size)).toThrow(/given twice/);
});

test("what is too long, too deep or too much is refused before it has come to its end", () => {
  const refusedAt = (piece: string, times: number, start = "") => {
    const reader = new JsonReader(1_000_000, tooLarge);
    reader.write(Buffer.from(start));
    for (let i = 0; i < times; i++) {
      try {
        reader.write(Buffer.from(piece));
      } catch (error) {
        return { code: (error as Fault).code, at: i };
      }
    }
    return undefined;
  };
  expect(refusedAt("[", 20)).toEqual({ code: "body_invalid", at: 16 });
  expect(refusedAt('{"a":', 20)).toEqual({ code: "body_invalid", at: 16 });
  expect(refusedAt("{},", 60_000, '{"x":[')?.code).toBe("body_invalid");
  expect(refusedAt("1,", 60_000, "[")?.at).toBeLessThan(40_001);
  expect(refusedAt("x".repeat(1000), 2000, '{"x":"')).toEqual({ code: "body_too_large", at: 999 });
  expect(refusedAt(" ".repeat(1000), 2000)?.code).toBe("body_too_large");
  expect(() => read(`{"image":{"data":"${base64}"}}`, 64, { image: 999 })).toThrow(code("image_too_large"));
  expect(read(`{"image":{"data":"${base64}"}}`, 64, { rest: 30 }).image).toHaveLength(1000);
});
