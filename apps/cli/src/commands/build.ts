import { buildInto, openCheckpoint, precisions } from "@florence/model";
import type { Command } from "commander";
import { UsageError } from "../failure.ts";
import { checkpointFolder } from "../hub.ts";
import { parsePrecision } from "../model.ts";
import { Progress } from "../progress.ts";

export function addBuild(program: Command): void {
  program
    .command("build")
    .description("Write a checkpoint's graphs and weights into a folder that can be served")
    .argument("<checkpoint>", "checkpoint folder in either layout, or a hub's owner/name")
    .requiredOption("--out <folder>", "new or empty folder")
    .option("--precision <p>", precisions.join(", "), "fp32")
    .option(
      "--keep <pattern>",
      "tensors, by their name in Hugging Face's layout, that stay float32: a regular expression",
    )
    .action(async (folder: string, { out, precision, keep }: { out: string; precision: string; keep?: string }) => {
      const checkpoint = openCheckpoint(await checkpointFolder(folder));
      const progress = new Progress(`Building ${checkpoint.name}`).update;
      const manifest = await buildInto(out, checkpoint, parsePrecision(precision), { progress, keep: pattern(keep) });
      const bytes = Object.values(manifest.files).reduce((n, file) => n + file.bytes, 0);
      process.stdout.write(`${out}: ${manifest.name}, ${manifest.precision}, ${(bytes / 1e6).toFixed(1)} MB\n`);
      if (manifest.precision !== "fp32")
        process.stdout.write(`Compare it with fp32: florence verify ${out} --checkpoint ${folder}\n`);
    });
}

function pattern(text: string | undefined): RegExp | undefined {
  try {
    return text === undefined ? undefined : new RegExp(text);
  } catch {
    throw new UsageError(`--keep is no regular expression: ${text}`);
  }
}
