import type { OpenOptions } from "@florence/model";
import type { Command } from "commander";

/** The flags that say what belongs to a checkpoint beside its own folder. */
export interface CheckpointFlags {
  readonly processor?: string;
  readonly adapter: readonly string[];
  readonly tasks?: string;
}

export function addCheckpointFlags(command: Command): Command {
  const collect = (value: string, before: string[]) => [...before, value];
  return command
    .option("--processor <folder>", "tokenizer and image settings, where the checkpoint has none (FLORENCE_PROCESSOR)")
    .option(
      "--adapter <folder>",
      "LoRA adapter in PEFT's format to put on the checkpoint; may be given several times (FLORENCE_ADAPTERS)",
      collect,
      [],
    )
    .option("--tasks <file>", "a fine-tune's own tasks, instead of tasks.json beside the weights (FLORENCE_TASKS)");
}

export function openOptions({ processor, adapter, tasks }: CheckpointFlags): OpenOptions {
  return { processor, adapters: adapter, tasks };
}

/** The flags as the variables that they stand for. */
export function checkpointVariables({ processor, adapter, tasks }: CheckpointFlags): Record<string, string> {
  return {
    ...(processor !== undefined && { FLORENCE_PROCESSOR: processor }),
    ...(tasks !== undefined && { FLORENCE_TASKS: tasks }),
    ...(adapter.length > 0 && { FLORENCE_ADAPTERS: adapter.join(",") }),
  };
}
