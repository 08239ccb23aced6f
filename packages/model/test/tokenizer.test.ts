import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPrompt, findTask } from "../src/tasks.ts";
import { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { checkpoints, type Goldens, readFixture, repositoryPath } from "./fixtures.ts";

const bare = repositoryPath("test/fixtures/odd-windows/original");
const native = repositoryPath("test/fixtures/odd-windows/native");
const { cases } = readFixture<Goldens>("odd-windows/goldens.json");

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tokenizer-"));
});
afterAll(() => rm(scratch, { recursive: true }));

async function folderWith(name: string, files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(scratch, `${name}-`));
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
  return folder;
}

test.each(checkpoints)("$name: prompts get the golden ids, and ids the golden text", async ({ folder, goldens }) => {
  const tokenizer = await Tokenizer.load(repositoryPath(folder));
  for (const { prompt, promptIds, runs } of readFixture<Goldens>(goldens).cases) {
    expect(tokenizer.encode(prompt)).toEqual(promptIds);
    for (const { ids, text } of runs) {
      expect(tokenizer.decode(ids)).toBe(text);

      const pieces = tokenizer.pieces(ids);
      expect(pieces.text).toBe(text);
      expect(pieces.starts[0]).toBe(0);
      expect([...pieces.starts.slice(1), text.length]).toEqual([...pieces.ends]);
      for (const [i, id] of ids.entries())
        if (tokenizer.isLocation(id))
          expect(text.slice(pieces.starts[i], pieces.ends[i])).toBe(`<loc_${id - tokenizer.locationBase}>`);

      const stream = tokenizer.stream();
      expect(ids.map((id) => stream.push(id)).join("") + stream.flush()).toBe(text);
    }
  }
});

test("vocab.json and merges.txt give the same tokenizer as tokenizer.json", async () => {
  const folder = await folderWith("older", {});
  for (const file of ["vocab.json", "merges.txt"]) await copyFile(join(bare, file), join(folder, file));
  const [older, whole] = [await Tokenizer.load(folder), await Tokenizer.load(bare)];
  for (const { prompt } of cases) expect(older.encode(prompt)).toEqual(whole.encode(prompt));
  const odd = " <mask>two  spaces, 東京's\n<OD><od><and></s>";
  expect(older.encode(odd)).toEqual(whole.encode(odd));
  expect(older.size).toBe(whole.size);
});

test("the 1024 tokens that a bare tokenizer lacks take the ids past its vocabulary, in Florence-2's order", async () => {
  const [added, known] = [await Tokenizer.load(bare), await Tokenizer.load(native)];
  expect(added.tokenId("<od>")).toBe(900);
  expect(added.locationBase).toBe(904);
  for (let id = 900; id < 1924; id++) expect(added.decode([id])).toBe(known.decode([id]));
  expect(added.size).toBe(1924);
  expect(added.tokenId("<region_to_desciption>")).toBe(known.tokenId("<region_to_desciption>"));
  expect([added.isLocation(903), added.isLocation(904), added.isLocation(1903), added.isLocation(1904)]).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test("<image> has an id where the checkpoint has one, and none elsewhere", async () => {
  expect((await Tokenizer.load(native)).tokenId("<image>")).toBe(1924);
  const original = await Tokenizer.load(bare);
  expect(original.tokenId("<image>")).toBeUndefined();
  expect(original.decode([1924])).toBe("");

  const folder = await folderWith("image", { "added_tokens.json": JSON.stringify({ "<image>": 1924 }) });
  await copyFile(join(bare, "tokenizer.json"), join(folder, "tokenizer.json"));
  const patched = await Tokenizer.load(folder);
  expect([patched.tokenId("<image>"), patched.size]).toEqual([1924, 1925]);
});

test("a character spelled by several tokens belongs to the last, and a broken one to the token that broke off", async () => {
  const tokenizer = await Tokenizer.load(native);
  const ids = tokenizer.encode("é東\u{1f600}\ufeff").slice(1, -1);
  expect(ids.length).toBeGreaterThan(4); // The small vocabulary spells them byte by byte.
  const { text, starts, ends } = tokenizer.pieces(ids);
  expect(text).toBe("é東\u{1f600}\ufeff");
  const spans = ids.map((_, i) => text.slice(starts[i], ends[i])).filter((span) => span !== "");
  expect(spans).toEqual(["é", "東", "\u{1f600}", "\ufeff"]);

  const location = tokenizer.locationBase + 7;
  const broken = tokenizer.encode("東").slice(1, 2);
  expect(tokenizer.pieces([...broken, location])).toEqual({
    text: "�<loc_7>",
    starts: Int32Array.of(0, 1),
    ends: Int32Array.of(1, 8),
  });
  const stream = tokenizer.stream();
  expect([stream.push(broken[0] ?? -1), stream.push(location), stream.flush()]).toEqual(["", "�<loc_7>", ""]);
  expect([stream.push(broken[0] ?? -1), stream.flush()]).toEqual(["", "�"]);
});

test("white space is Unicode's, as in the reference, and not JavaScript's: U+0085 is, U+FEFF is not", async () => {
  const tokenizer = await Tokenizer.load(native);
  // From the reference's tokenizer (the Rust library) on the same file.
  const reference: [string, number[]][] = JSON.parse(
    await readFile(repositoryPath("test/fixtures/variants/spaces.json"), "utf8"),
  );
  expect(reference.length).toBeGreaterThan(100);
  for (const [text, ids] of reference) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
});

test("no ids give no text", async () => {
  const tokenizer = await Tokenizer.load(native);
  expect(tokenizer.decode([])).toBe("");
  expect(tokenizer.pieces([]).text).toBe("");
});

test("a folder without a tokenizer, or with a broken one, is refused by name", async () => {
  const merges = await readFile(join(bare, "merges.txt"), "utf8");
  const whole = JSON.parse(await readFile(join(native, "tokenizer.json"), "utf8"));
  const [od] = whole.added_tokens.splice(
    whole.added_tokens.findIndex(({ content }: { content: string }) => content === "<loc_3>"),
    1,
  );
  const rejected: [Record<string, string>, string][] = [
    [{}, "checkpoint_file_missing"],
    [{ "vocab.json": "{}" }, "checkpoint_file_missing"],
    [{ "vocab.json": "{}", "merges.txt": merges }, "checkpoint_config_invalid"],
    [{ "vocab.json": '{"<s>": "0"}', "merges.txt": merges }, "checkpoint_config_invalid"],
    [{ "tokenizer.json": "{" }, "checkpoint_config_invalid"],
    [{ "tokenizer.json": "[1]" }, "checkpoint_config_invalid"],
    [{ "tokenizer.json": '{"model": {"type": "Unigram", "vocab": []}}' }, "checkpoint_config_invalid"],
    [{ "tokenizer.json": JSON.stringify({ ...whole, decoder: { type: "WordPiece" } }) }, "checkpoint_config_invalid"],
    [
      { "tokenizer.json": JSON.stringify({ ...whole, post_processor: { type: "Unheard-of" } }) },
      "checkpoint_config_invalid",
    ],
    // Without <loc_3> among them, the locations are no longer consecutive.
    [{ "tokenizer.json": JSON.stringify(whole) }, "checkpoint_config_invalid"],
  ];
  expect(od.content).toBe("<loc_3>");
  for (const [files, code] of rejected)
    await expect(
      Tokenizer.load(await folderWith("bad", files)),
      JSON.stringify(files).slice(0, 80),
    ).rejects.toMatchObject({ code });
});

const realTokenizer = process.env.FLORENCE_REAL_TOKENIZER;
const published: [task: string, input: string | undefined, ids: string][] = [
  ["<OCR>", undefined, "0 2264 16 5 2788 11 5 2274 116 2"],
  ["<OCR_WITH_REGION>", undefined, "0 2264 16 5 2788 11 5 2274 6 19 3806 116 2"],
  ["<CAPTION>", undefined, "0 2264 473 5 2274 6190 116 2"],
  ["<DETAILED_CAPTION>", undefined, "0 47066 21700 11 4617 99 16 2343 11 5 2274 4 2"],
  ["<MORE_DETAILED_CAPTION>", undefined, "0 47066 21700 19 10 17818 99 16 2343 11 5 2274 4 2"],
  ["<OD>", undefined, "0 574 22486 5 8720 19 4120 766 11 5 2274 4 2"],
  ["<DENSE_REGION_CAPTION>", undefined, "0 574 22486 5 8720 11 5 2274 6 19 49 24173 4 2"],
  ["<REGION_PROPOSAL>", undefined, "0 574 22486 5 976 5327 11 5 2274 4 2"],
  ["<OPEN_VOCABULARY_DETECTION>", "cat", "0 574 22486 4758 11 5 2274 4 2"],
  ["<OPEN_VOCABULARY_DETECTION>", "wheels", "0 574 22486 10562 11 5 2274 4 2"],
  ["<REFERRING_EXPRESSION_SEGMENTATION>", "a car", "0 574 22486 10 512 11 5 2274 19 11445 2"],
  [
    "<CAPTION_TO_PHRASE_GROUNDING>",
    "A green car parked in front of a yellow building.",
    "0 574 22486 5 22810 11 5 3747 35 83 2272 512 9181 11 760 9 10 5718 745 4 2",
  ],
  ["<REGION_TO_CATEGORY>", "<loc_52><loc_332><loc_932><loc_774>", "0 2264 16 5 976 1437 50321 50601 51201 51043 116 2"],
  [
    "<REGION_TO_SEGMENTATION>",
    "<loc_702><loc_575><loc_866><loc_772>",
    "0 2264 16 5 11424 14601 11445 9 976 1437 50971 50844 51135 51041 2",
  ],
];

test.runIf(realTokenizer)("FLORENCE_REAL_TOKENIZER: Microsoft's tokenizer gives the published ids", async () => {
  const tokenizer = await Tokenizer.load(realTokenizer ?? "");
  for (const [task, input, ids] of published)
    expect(tokenizer.encode(buildPrompt(findTask(task), input)).join(" "), task).toBe(ids);
  expect(tokenizer.locationBase).toBe(50269);
  expect(tokenizer.tokenId("<and>")).toBe(51288);
});
