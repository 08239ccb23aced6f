import { expect, test } from "vitest";
import { decodeBase64, encodeBase64Url } from "../src/http/base64.ts";

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) >> 3);

test("what was encoded is decoded, in both alphabets, padded or not, at every length", () => {
  for (let length = 0; length < 70; length++) {
    const part = bytes.slice(length, 2 * length);
    const buffer = Buffer.from(part);
    for (const text of [buffer.toString("base64"), buffer.toString("base64url"), encodeBase64Url(part)])
      expect(Buffer.compare(decodeBase64(text) as Uint8Array, part), text).toBe(0);
    expect(encodeBase64Url(part)).toBe(buffer.toString("base64url"));
  }
});

test("white space is skipped wherever it stands, as mail and indented files have it", () => {
  const text = Buffer.from(bytes).toString("base64");
  for (const between of ["\n", "\r\n", " ", "\t", "\r\n    "])
    for (const every of [1, 4, 60, 76, 77]) {
      const spaced = between + text.replaceAll(new RegExp(`.{${every}}`, "g"), `$&${between}`);
      expect(Buffer.compare(decodeBase64(spaced) as Uint8Array, bytes), JSON.stringify([between, every])).toBe(0);
    }
  expect(decodeBase64("QQ = =\n")).toEqual(new Uint8Array([65]));
});

test("a character of neither alphabet is refused wherever it stands", () => {
  const text = Buffer.from(bytes).toString("base64");
  for (const wrong of ["\f", "\v", "\u00a0", "\u2028", "=", "!", "%", ",", "é", "€", "\u{1F600}", "\0"])
    for (const at of [0, 1, 2, 3, 500, text.length - 3, text.length - 4])
      expect(decodeBase64(text.slice(0, at) + wrong + text.slice(at + 1)), `${wrong} at ${at}`).toBeUndefined();
  for (const wrong of ["A", "AAAAA", "===", "A===", "AA==AA==", "A A A A A", "QQ = A"])
    expect(decodeBase64(wrong)).toBeUndefined();
});
