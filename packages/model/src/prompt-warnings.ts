import type { TaskRow } from "./tasks.ts";
import { strip } from "./text/python-text.ts";

/** Something that was done to a task's text and could surprise; the codes are stable, `message` is one sentence for users. */
export interface PromptWarning {
  readonly code: "text_trimmed" | "class_dropped";
  readonly message: string;
}

/** What buildPrompt, and of several classes joinClasses, does to a text. Around a region's numbers spaces mean nothing. */
export function promptWarnings({ input }: TaskRow, text: string | readonly string[] = ""): readonly PromptWarning[] {
  if (input !== "text") return [];
  const given = [text].flat();
  const named = given.filter((one) => strip(one) !== "");
  const warnings: PromptWarning[] = [];
  if (named.some((one) => strip(one) !== one))
    warnings.push({ code: "text_trimmed", message: "White space around the text was left out." });
  if (named.length < given.length)
    warnings.push({ code: "class_dropped", message: "Classes without a name were left out." });
  return warnings;
}
