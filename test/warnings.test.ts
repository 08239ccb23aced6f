import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { annotateJson, annotateRaw } from "./support/annotate.ts";
import { fixture, startServices, type TestServices } from "./support/services.ts";

let services: TestServices;
beforeAll(async () => {
  services = await startServices("models/florence-2-drawn");
});
afterAll(() => services[Symbol.asyncDispose]());

const greedy = { num_beams: 1 };
const caption = [{ task: "caption" }];
const scene = () => sharp(fixture("drawn/scene-900006.png")).removeAlpha();
const bytesOf = async (image: Sharp) => new Uint8Array(await image.toBuffer());

/** A disc on a transparent ground, whose stored colour is that of the disc: only its alpha shows it. */
async function disc(colour: { r: number; g: number; b: number }): Promise<Uint8Array<ArrayBuffer>> {
  const side = 96;
  const alpha = Uint8Array.from(
    { length: side * side },
    (_, at) => 255 * Number(Math.hypot((at % side) - side / 2, Math.floor(at / side) - side / 2) < side / 3),
  );
  const ground = sharp({ create: { width: side, height: side, channels: 3, background: colour } });
  return bytesOf(ground.joinChannel(Buffer.from(alpha), { raw: { width: side, height: side, channels: 1 } }).png());
}

async function animation(): Promise<Uint8Array<ArrayBuffer>> {
  const frames = await Promise.all([scene(), scene().negate()].map((frame) => frame.resize(64, 64).raw().toBuffer()));
  const raw = { width: 64, height: 128, channels: 3, pageHeight: 64 } as const;
  return bytesOf(sharp(Buffer.concat(frames), { raw }).gif());
}

/** Twelve bits of range, as cameras and scanners give. */
async function deepGrey(): Promise<Uint8Array<ArrayBuffer>> {
  const values = Uint16Array.from({ length: 64 * 64 }, (_, at) => at);
  return bytesOf(
    sharp(values, { raw: { width: 64, height: 64, channels: 1 } })
      .toColourspace("grey16")
      .png(),
  );
}

const images: Record<string, readonly [codes: readonly string[], file: () => Promise<Uint8Array<ArrayBuffer>>]> = {
  "an animated GIF": [["later_frames_ignored"], animation],
  "a transparent PNG": [["alpha_dropped"], () => disc({ r: 200, g: 30, b: 40 })],
  "grey of 16 bits that uses 12": [["grey_scaled"], deepGrey],
  "a JPEG in inks": [["cmyk_converted"], () => bytesOf(scene().toColourspace("cmyk").jpeg())],
  "a JPEG that lies on its side": [
    ["orientation_applied"],
    () => bytesOf(scene().jpeg().withMetadata({ orientation: 6 })),
  ],
  "an image as every other": [[], () => bytesOf(scene().png({ compressionLevel: 3 }))],
};

const codesOf = (answer: { readonly warnings?: readonly { readonly code: string }[] }) =>
  (answer.warnings ?? []).map(({ code }) => code);

/** The data of the event stream's `done`. */
async function doneOf(file: Uint8Array<ArrayBuffer>): Promise<{ warnings?: { code: string; message: string }[] }> {
  const url = `${services.url}/v1/annotate?task=caption&num_beams=1&stream`;
  const response = await fetch(url, { method: "POST", headers: { "content-type": "image/png" }, body: file });
  const done = (await response.text()).split("\n\n").find((event) => event.startsWith("event: done"));
  return JSON.parse(/^data: (.*)$/m.exec(done ?? "")?.[1] ?? "null");
}

describe.each(Object.entries(images))("%s", (_what, [codes, make]) => {
  test("is answered with what was done to it, at first, when it is known, in a stream and at its upload alike", async () => {
    const file = await make();
    const first = await annotateJson(services.url, file, caption, greedy);
    expect(first.cache.result).toBe("miss");
    expect(codesOf(first)).toEqual(codes);
    for (const { message } of first.warnings ?? []) expect(message).toMatch(/^[A-Z].*\.$/);
    // Nothing to say is not said.
    expect(Object.hasOwn(first, "warnings")).toBe(codes.length > 0);

    const again = await annotateRaw(services.url, file, "task=caption&num_beams=1");
    expect(again.cache.result).toBe("hit");
    expect(again.warnings).toEqual(first.warnings);
    expect((await doneOf(file)).warnings).toEqual(first.warnings);

    const form = new FormData();
    form.set("image", new Blob([file]));
    const uploaded = await (await fetch(`${services.url}/v1/images`, { method: "POST", body: form })).json();
    expect((uploaded as typeof first).warnings).toEqual(first.warnings);
  });
});

test("each background makes an embedding of its own, and none answers for another, however often they are asked", async () => {
  const file = await disc({ r: 20, g: 90, b: 160 });
  const ways = [undefined, "#ffffff", "#14325a", [255, 255, 254]];
  const before = await services.encodings();
  const ask = (background: unknown) =>
    annotateJson(services.url, file, caption, { ...greedy, ...(background !== undefined && { background }) });
  const texts = [];
  for (const [round, result] of ["miss", "hit"].entries()) {
    for (const [i, way] of ways.entries()) {
      const answer = await ask(way);
      expect([round, i, answer.cache.result]).toEqual([round, i, result]);
      expect(codesOf(answer)).toEqual(way === undefined ? ["alpha_dropped"] : []);
      texts.push(answer.results[0]?.text);
    }
  }
  expect(await services.encodings()).toBe(before + ways.length);
  expect(texts.slice(ways.length)).toEqual(texts.slice(0, ways.length));
  // The same colour, however it is written, is the same background.
  expect((await ask([255, 255, 255])).cache.result).toBe("hit");
  expect((await annotateRaw(services.url, file, "task=caption&num_beams=1&background=FFFFFF")).cache.result).toBe(
    "hit",
  );
});

test("an opaque image is the same on every background: one encoding", async () => {
  const file = fixture("drawn/scene-900007.png");
  const before = await services.encodings();
  for (const background of ["#000000", "#ffffff"])
    expect((await annotateJson(services.url, file, caption, { ...greedy, background })).status).toBe(200);
  expect(await services.encodings()).toBe(before + 1);
});

test("a background of an upload is what its id shows, with nothing to warn of", async () => {
  const file = await disc({ r: 160, g: 90, b: 20 });
  const headers = { "content-type": "application/json" };
  const post = async (path: string, body: object) =>
    (await fetch(services.url + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  const image = { data: Buffer.from(file).toString("base64") };
  const onWhite = { background: "#ffffff" };
  const uploaded = (await post("/v1/images", { image, options: onWhite })) as { image: { id: string } };
  expect(uploaded).not.toHaveProperty("warnings");
  const byId = (await post("/v1/annotate", { image: { id: uploaded.image.id }, tasks: caption, options: greedy })) as {
    results: unknown;
  };
  const sent = await annotateJson(services.url, file, caption, { ...greedy, ...onWhite });
  expect(sent.cache.result).toBe("hit");
  expect(byId.results).toEqual(sent.results);
});
