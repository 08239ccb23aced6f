import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import {
  checkCheckpoint,
  type Manifest,
  type ModelConfig,
  manifestName,
  openCheckpoint,
  promptTokensMax,
  readManifest,
} from "@florence/model";
import type { Command } from "commander";
import { addCheckpointFlags, type CheckpointFlags, openOptions } from "../checkpoint-flags.ts";
import { checkpointFolder } from "../hub.ts";
import { percent } from "../model.ts";

interface InfoFlags extends CheckpointFlags {
  readonly json?: boolean;
}

export function configureInfo(command: Command): void {
  addCheckpointFlags(command)
    .argument("<folder>", "checkpoint in either layout, or built folder")
    .option("--json", "print JSON")
    .action(async (folder: string, { json, ...flags }: InfoFlags) => {
      const facts = await describeFolder(await checkpointFolder(folder), flags);
      const lines = Object.entries(facts).map(
        ([key, value]) => `${key.padEnd(20)} ${typeof value === "string" ? value : JSON.stringify(value)}`,
      );
      process.stdout.write(json ? `${JSON.stringify(facts, null, 2)}\n` : `${lines.join("\n")}\n`);
    });
}

async function describeFolder(folder: string, flags: CheckpointFlags): Promise<Record<string, unknown>> {
  if (existsSync(join(folder, manifestName))) return { ...builtFacts(readManifest(folder)) };
  const checkpoint = openCheckpoint(folder, openOptions(flags));
  const { digest, notes } = await checkCheckpoint(checkpoint);
  const tensors = [...checkpoint.tensors.values()];
  const count = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);
  return {
    name: checkpoint.name,
    kind: "checkpoint",
    layout: checkpoint.layout,
    digest,
    files: checkpoint.files.map((file) => basename(file)),
    parameters: tensors.reduce((n, t) => n + count(t.shape), 0),
    stored: [...new Set(tensors.map((t) => t.dtype))].join(", "),
    ...(notes.length > 0 && { notes }),
    ...(checkpoint.tasks.length > 0 && { tasks: checkpoint.tasks.map(({ name }) => name) }),
    ...configFacts(checkpoint.config),
  };
}

function builtFacts({
  name,
  digest,
  precision,
  kept,
  notes,
  tasks,
  config,
  files,
  verification,
}: Manifest): Record<string, unknown> {
  return {
    name,
    kind: "built",
    precision,
    ...(kept !== undefined && { keptFloat32: kept }),
    ...(notes && { notes }),
    ...(tasks && { tasks: tasks.map((task) => task.name) }),
    digest,
    bytes: Object.values(files).reduce((n, { bytes }) => n + bytes, 0),
    files: Object.keys(files),
    verification: verification
      ? {
          ...verification,
          summary: `${verification.passed ? "passed" : "failed"}: answers equal ${percent(verification.equalAnswers)}, tokens equal ${percent(verification.equalTokens)}, overlap ${percent(verification.meanIou)}`,
        }
      : precision === "fp32"
        ? "not needed"
        : "never verified",
    ...configFacts(config),
  };
}

function configFacts(config: ModelConfig): Record<string, unknown> {
  const { vision, text, generation, preprocess, imageTokens } = config;
  return {
    imageSize: preprocess.size,
    imageTokens,
    visionChannels: vision.channels,
    visionDepths: vision.depths,
    window: vision.windowSize,
    hidden: text.hidden,
    layers: { encoder: text.encoderLayers, decoder: text.decoderLayers },
    vocabulary: text.vocabulary,
    positions: text.positions,
    promptTokensMax: promptTokensMax(config),
    generation,
  };
}
