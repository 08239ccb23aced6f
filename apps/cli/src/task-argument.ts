import { splitTask, tasks } from "@florence/model/tasks";
import { type ListedTask, listTasks, type TaskRequest } from "./client.ts";

/** A task as it was written on the command line. */
export interface TaskArgument extends Pick<ListedTask, "token" | "answer"> {
  readonly input: string | null;
  readonly request: TaskRequest;
}

/**
 * Reads tasks as they were written: TASK, TASK=INPUT, TASK:INPUT or <TOKEN>INPUT. The server is asked for its own where one is not among
 * Florence-2's. Throws task_unknown, and what listTasks throws.
 */
export async function readTasks(written: readonly string[], server: string): Promise<TaskArgument[]> {
  const read = (rows: readonly ListedTask[]) => written.map((argument) => toArgument(argument, rows));
  try {
    return read(tasks);
  } catch {
    return read(await listTasks(server));
  }
}

function toArgument(argument: string, rows: readonly ListedTask[]): TaskArgument {
  const { row, input } = splitTask(argument, rows);
  const request = { task: row.name, ...(input !== undefined && { text: input }) };
  return { token: row.token, answer: row.answer, input: input ?? null, request };
}
