import { answerKinds, type TaskRow, taskInputs, tasks } from "@florence/model/tasks";
import type { TaskRow as WireTask } from "@florence/proto/model";
import { orAborted } from "@florence/service";
import type { LoadedModels } from "../peers/agreement.ts";

/**
 * Every task that can be asked now: Florence-2's, and those that the loaded checkpoint brings. Throws `unavailable` while no decoder has
 * said which.
 */
export async function knownTasks(models: LoadedModels, signal: AbortSignal): Promise<readonly TaskRow[]> {
  const { decoder } = await orAborted(models.known(), signal);
  return [...tasks, ...decoder.tasks.flatMap(toRow)];
}

/** None for a row that this gateway cannot read answers by, as a newer decoder may have. */
function toRow({ name, token, prompt, description, ...wire }: WireTask): TaskRow[] {
  const input = taskInputs.find((known) => known === wire.input);
  const answer = answerKinds.find((known) => known === wire.answer);
  return input && answer ? [{ name, token, prompt, input, answer, description }] : [];
}
