import type { Answer, Result } from "./client.ts";
import type { TaskArgument } from "./task-argument.ts";

/** The JSON object of one image. Its path stands under `picture` too, its name before, for scripts, until 1.0. */
export function imageJson(image: string, answer: Answer, tasks: readonly TaskArgument[]): object {
  const { name, precision, digest } = answer.model;
  return {
    image,
    picture: image,
    width: answer.image.width,
    height: answer.image.height,
    model: { name, precision, digest },
    ...(answer.warnings && { warnings: answer.warnings }),
    results: answer.results.map((result, i) => resultJson(result, tasks[i] as TaskArgument)),
  };
}

function resultJson(result: Result, { token, input }: TaskArgument): object {
  if ("error" in result) return { task: result.task, token, input, error: result.error };
  return {
    task: result.task,
    token: result.token,
    input,
    answer: result.answer,
    text: result.text,
    ids: result.ids,
    promptIds: result.prompt_ids,
    tokenLogProbs: result.token_log_probs,
    score: result.score,
    finishReason: result.finish_reason,
    ...(result.warnings && { warnings: result.warnings }),
  };
}

/** What of an answer can be drawn: the values of its tasks that answer with regions. */
export function regionAnswers(answer: Answer, tasks: readonly TaskArgument[]): unknown[] {
  return answer.results.flatMap((result, i) =>
    "error" in result || tasks[i]?.answer === "json" ? [] : [Object.values(result.answer)[0]],
  );
}

/** The same for people. */
export function imageText(image: string, answer: Answer, tasks: readonly TaskArgument[]): string {
  const lines = [`${image} (${answer.image.width} x ${answer.image.height})`];
  for (const [i, result] of answer.results.entries()) {
    if ("error" in result) {
      lines.push(`  ${result.task}: ${result.error.detail}`);
      continue;
    }
    const value = Object.values(result.answer)[0];
    if (typeof value === "string") lines.push(`  ${result.task}: ${value}`);
    else if (tasks[i]?.answer === "json") lines.push(`  ${result.task}: ${JSON.stringify(value)}`);
    else lines.push(`  ${result.task}:`, ...regionLines(value as Record<string, unknown[]>));
  }
  return `${lines.map(printable).join("\n")}\n`;
}

/** What was done to the image and the tasks' texts and could surprise, a line each. */
export function warningLines(image: string, answer: Answer): string {
  const ofTasks = answer.results.flatMap((result) =>
    "error" in result ? [] : (result.warnings ?? []).map(({ message }) => `${result.task}: ${message}`),
  );
  const all = [...(answer.warnings ?? []).map(({ message }) => message), ...ofTasks];
  return all.map((text) => `${printable(`${image}: warning: ${text}`)}\n`).join("");
}

/** A model may write anything; a terminal must not take it for commands. */
function printable(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return line.replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}

function regionLines(value: Record<string, unknown[]>): string[] {
  const out: string[] = [];
  const add = (shapes: unknown[] | undefined, labels: unknown[] | undefined, scores: unknown[] | undefined) => {
    for (const [i, shape] of (shapes ?? []).entries()) {
      const score = scores?.[i];
      const label = String(labels?.[i] ?? "");
      out.push(
        `    ${label.padEnd(24)} ${typeof score === "number" ? score.toFixed(2) : "    "}  ${JSON.stringify(shape)}`,
      );
    }
  };
  add(value.bboxes, value.labels ?? value.bboxes_labels, value.scores);
  add(value.quad_boxes, value.labels, value.scores);
  add(value.polygons, value.polygons_labels ?? value.labels, value.polygons_scores ?? value.scores);
  return out.length > 0 ? out : ["    nothing found"];
}
