import {
  buildPrompt,
  checkCorners,
  joinClasses,
  type PixelRegion,
  type PromptWarning,
  parsePixelRegion,
  promptWarnings,
  regionToLocations,
  splitTask,
  type TaskRow,
} from "@florence/model/tasks";
import { Fault, toFault } from "@florence/service";
import type { Limits } from "../limits.ts";
import type { TaskEntry } from "./schema.ts";

/** One task of a call, checked as far as it can be without the image. */
export interface TaskRequest {
  readonly row: TaskRow;
  /** A text, or a region that becomes location tokens once the image's size is known. */
  readonly input: string | PixelRegion | undefined;
  readonly warnings: readonly PromptWarning[];
}

/** Throws task_unknown, task_input_missing, task_input_unexpected, region_invalid or prompt_too_long, naming the task's place. */
export function toTaskRequest(entry: TaskEntry, index: number, limits: Limits, rows: readonly TaskRow[]): TaskRequest {
  try {
    return checkTask(entry, limits, rows);
  } catch (error) {
    const fault = toFault(error);
    throw new Fault(fault.code, `tasks[${index}]: ${fault.detail}`, { cause: error });
  }
}

/** What the decoder takes as the task's input. Throws region_invalid for a region outside the image. */
export function decoderInput({ input }: TaskRequest, size: { width: number; height: number }): string {
  return typeof input === "object" ? regionToLocations(input, size) : (input ?? "");
}

function checkTask({ task, region, ...apart }: TaskEntry, limits: Limits, rows: readonly TaskRow[]): TaskRequest {
  const { row, input: inside } = splitTask(task, rows);
  if (inside !== undefined && apart.text !== undefined)
    throw new Fault("task_input_unexpected", "The text stands twice: behind the task and by itself.");
  const text = inside ?? apart.text;
  return { row, input: checkInput(row, text, region, limits), warnings: promptWarnings(row, text) };
}

function checkInput(
  row: TaskRow,
  text: TaskEntry["text"],
  region: PixelRegion | undefined,
  limits: Limits,
): TaskRequest["input"] {
  if (region !== undefined) return checkRegion(row, text, region);
  const input = typeof text === "object" ? classes(row, text) : text;
  if (input !== undefined && input.length > limits.textCharactersMax) {
    throw new Fault("prompt_too_long", `The text has more than ${limits.textCharactersMax} characters.`);
  }
  const pixels = row.input === "region" && input !== undefined ? parsePixelRegion(input) : undefined;
  if (pixels !== undefined) return checkRegion(row, undefined, pixels);
  buildPrompt(row, input);
  return input;
}

function checkRegion(row: TaskRow, text: unknown, region: PixelRegion): PixelRegion {
  if (row.input !== "region") throw new Fault("task_input_unexpected", `The task ${row.name} takes no region.`);
  if (text !== undefined) throw new Fault("task_input_unexpected", "Give a region or a text, not both.");
  checkCorners(region);
  return region;
}

function classes(row: TaskRow, names: readonly string[]): string {
  if (row.name !== "open_vocabulary_detection") {
    throw new Fault("task_input_unexpected", "Only open_vocabulary_detection takes several texts.");
  }
  return joinClasses(names);
}
