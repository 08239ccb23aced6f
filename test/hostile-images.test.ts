import { afterAll, beforeAll, expect, test } from "vitest";
import { annotateRaw } from "./support/annotate.ts";
import { type HostileImage, hostileImages } from "./support/hostile-images.ts";
import { fixture, startServices, type TestServices } from "./support/services.ts";

const query = "task=caption&num_beams=1&max_new_tokens=8";
// Those that take seconds to be made, sent or decoded are for lab/hostile/images.ts.
const slow =
  /7071|50 megapixels|200 MB|4000|330000|1000000|300000|20,000|iTXt, 100|JPEG that ends|progressive|PNG, 1 bit/;
const quick = hostileImages.filter(({ kind, variant }) => !slow.test(`${kind} ${variant}`));
/** Kinds of which nothing is left to decode, or more than is decoded. All others are images once what is hostile has been cut away. */
const refused: Readonly<Record<string, string>> = {
  "JPEG scans": "image_undecodable",
  "a million tEXt": "image_undecodable",
  "absurd size": "image_too_many_pixels",
  "WebP 16777216 x 256": "image_undecodable",
  "PNG without one": "image_undecodable",
  "PNG, one of 65,000 colours": "image_undecodable",
  "cut off": "image_undecodable",
};
const expected = ({ kind, variant }: HostileImage) => refused[variant] ?? refused[kind] ?? "answered";

let services: TestServices;
beforeAll(async () => {
  services = await startServices("models/florence-2-drawn");
});
afterAll(() => services?.[Symbol.asyncDispose]());

const answerTo = async (image: Uint8Array<ArrayBuffer>) => {
  const { status, code } = await annotateRaw(services.url, image, query, "application/octet-stream");
  return status === 200 ? "answered" : code;
};

test("a hostile image gets its own error or an honest answer, and honest calls beside it are all answered", async () => {
  expect(new Set(quick.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(8);
  expect(quick.length).toBeGreaterThanOrEqual(25);
  const files = await Promise.all(quick.map(async ({ make }) => new Uint8Array(await make())));
  let over = false;
  const others = (async () => {
    const answers: unknown[] = [];
    for (let i = 0; !over || i < 8; i++)
      answers.push(
        await answerTo(fixture(`drawn/scene-9000${10 + (i % 13)}.png`.replace(/(11|14|17|20).png/, "$1.jpg"))),
      );
    return answers;
  })();
  const answers: unknown[] = [];
  for (const file of files) answers.push(await answerTo(file));
  over = true;
  expect(quick.map(({ kind, variant }, i) => [kind, variant, answers[i]])).toEqual(
    quick.map((image) => [image.kind, image.variant, expected(image)]),
  );
  expect(new Set(await others)).toEqual(new Set(["answered"]));
  // All at once, as other files than before; some may be told to come again.
  const together = await Promise.all(files.map((file) => answerTo(Buffer.concat([file, Buffer.alloc(1)]))));
  const said = together.map((answer, i) => (answer === "overloaded" ? expected(quick[i] as HostileImage) : answer));
  expect(quick.map(({ kind, variant }, i) => [kind, variant, said[i]])).toEqual(
    quick.map((image) => [image.kind, image.variant, expected(image)]),
  );
  expect((await fetch(`${services.url}/readyz`)).status).toBe(200);
  expect(await answerTo(fixture("drawn/scene-900023.jpg"))).toBe("answered");
});
