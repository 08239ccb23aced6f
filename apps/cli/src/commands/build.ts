import { buildInto, openCheckpoint, type Precision, precisions } from "@florence/model";
import { Progress } from "@florence/node";
import { type Command, Option } from "commander";
import { addCheckpointFlags, type CheckpointFlags, openOptions } from "../checkpoint-flags.ts";
import { UsageError } from "../failure.ts";
import { checkpointFolder } from "../hub.ts";

interface BuildFlags extends CheckpointFlags {
  readonly out: string;
  readonly precision: Precision;
  readonly keep?: string;
}

export function configureBuild(command: Command): void {
  addCheckpointFlags(command)
    .argument("<checkpoint>", "checkpoint folder in either layout, or a hub's owner/name")
    .requiredOption("--out <folder>", "new or empty folder")
    .addOption(new Option("--precision <p>", "how weights are stored and run").choices(precisions).default("fp32"))
    .option(
      "--keep <pattern>",
      "tensors, by their name in Hugging Face's layout, that stay float32: a regular expression",
    )
    .action(async (folder: string, { out, precision, keep, ...flags }: BuildFlags) => {
      const checkpoint = openCheckpoint(await checkpointFolder(folder), openOptions(flags));
      const progress = new Progress(`Building ${checkpoint.name}`).update;
      const manifest = await buildInto(out, checkpoint, precision, { progress, keep: pattern(keep) });
      for (const note of manifest.notes ?? []) process.stderr.write(`warning: ${note}\n`);
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
