import { findTask, parsePixelRegion } from "@florence/model/tasks";
import type { TaskRequest } from "./client.ts";

/** A task as it was written on the command line: TASK or TASK=INPUT. */
export interface TaskArgument {
  readonly name: string;
  readonly token: string;
  readonly input: string | null;
  readonly request: TaskRequest;
}

/** Reads TASK[=INPUT]: a name or token, and a text, four location tokens or x1,y1,x2,y2 in pixels. Throws task_unknown. */
export function parseTask(argument: string): TaskArgument {
  // A token such as <OD> holds no "=", so the first one ends the task.
  const at = argument.indexOf("=");
  const row = findTask(at < 0 ? argument : argument.slice(0, at));
  const input = at < 0 ? null : argument.slice(at + 1);
  const region = row.input === "region" && input !== null ? parsePixelRegion(input) : undefined;
  const request = { task: row.name, ...(region ? { region } : input !== null ? { text: input } : {}) };
  return { name: row.name, token: row.token, input, request };
}
