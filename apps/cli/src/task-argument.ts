import { findTask } from "@florence/model/tasks";
import type { TaskRequest } from "./client.ts";

const pixels = /^\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*$/;

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
  const corners = row.input === "region" && input !== null ? pixels.exec(input)?.slice(1).map(Number) : undefined;
  const [x1, y1, x2, y2] = corners ?? [];
  const region =
    x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined ? undefined : { x1, y1, x2, y2 };
  const request = { task: row.name, ...(region ? { region } : input !== null ? { text: input } : {}) };
  return { name: row.name, token: row.token, input, request };
}
