// Which layers does int8 break? Quantises one group of a checkpoint at a time, all others staying float32, and compares with fp32:
//   node lab/precision/ablation.ts [CHECKPOINT] [GOLDENS]
// Prints a Markdown table: every group alone, then everything but one.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildInto, openCheckpoint, prepareModel } from "@florence/model";
import { cpu } from "@florence/model/inference";
import { readGoldens, verifyVariant } from "@florence/model/verify";

const here = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const [checkpoint = here("models/florence-2-drawn"), goldens = here("test/fixtures/drawn/goldens.json")] =
  process.argv.slice(2);
const samples = readGoldens(goldens);

const decoder = "language_model\\.decoder\\.layers\\.\\d+\\.";
const groups: Record<string, string> = {
  "vision, stages 0 and 1": "vision_tower\\.blocks\\.[01]\\.",
  "vision, stage 2": "vision_tower\\.blocks\\.2\\.",
  "vision, stage 3": "vision_tower\\.blocks\\.3\\.",
  "vision, attention only": "vision_tower\\..*attn\\.",
  "text encoder": "language_model\\.encoder\\.layers\\.",
  "cross keys and values": `${decoder}encoder_attn\\.[kv]_proj`,
  "decoder self-attention": `${decoder}self_attn\\.`,
  "decoder cross queries and outputs": `${decoder}encoder_attn\\.(q|out)_proj`,
  "decoder feed-forward": `${decoder}fc`,
  head: "^lm_head\\.",
};

const work = mkdtempSync(join(tmpdir(), "florence-ablation-"));
try {
  const reference = await prepareModel(checkpoint, { cacheFolder: join(work, "cache") });
  console.log("| quantised to int8 | tokens all equal | answers equal | overlap of regions | features cosine, least |");
  console.log("| --- | --- | --- | --- | --- |");
  // A tensor is kept when its name does not match: (?!.*pattern) turns a pattern round.
  for (const [group, pattern] of Object.entries(groups))
    await row(`only ${group}`, new RegExp(`^(?!.*(?:${pattern}))`));
  await row("everything", undefined);

  async function row(label: string, keep: RegExp | undefined): Promise<void> {
    const folder = join(work, "variant");
    const manifest = await buildInto(folder, openCheckpoint(checkpoint), "int8", { keep });
    const v = await verifyVariant({ folder, manifest }, reference, { samples, device: cpu() });
    const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
    console.log(
      `| ${label} | ${percent(v.equalTokens)} | ${percent(v.equalAnswers)} | ${percent(v.meanIou)} | ${v.featuresCosine.min.toFixed(5)} |`,
    );
    rmSync(folder, { recursive: true });
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
