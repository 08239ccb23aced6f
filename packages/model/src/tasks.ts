import { ModelError } from "./errors.ts";
import { checkCorners } from "./regions.ts";
import { strip } from "./text/python-text.ts";

export { colourPattern, parseColour } from "./image/colour.ts";
export type { Colour } from "./image/pixels.ts";
export { type PromptWarning, promptWarnings } from "./prompt-warnings.ts";
export { checkCorners, type PixelRegion, parsePixelRegion, regionToLocations } from "./regions.ts";

/** How an answer's text is read; the names are those of the reference's post-processor, but for json, which it does not have. */
export const answerKinds = [
  "pure_text",
  "json",
  "ocr",
  "description_with_bboxes",
  "bboxes",
  "phrase_grounding",
  "polygons",
  "description_with_bboxes_or_polygons",
] as const;
export type AnswerKind = (typeof answerKinds)[number];

/** The kinds that hold a text. */
export type TextKind = "pure_text" | "json";
/** The kinds that hold regions. */
export type RegionKind = Exclude<AnswerKind, TextKind>;

export function isTextKind(kind: AnswerKind): kind is TextKind {
  return kind === "pure_text" || kind === "json";
}

/** What a task takes beside the image: nothing, a phrase, four location tokens, or any text as the whole prompt. */
export const taskInputs = ["none", "text", "region", "any"] as const;
export type TaskInput = (typeof taskInputs)[number];

export interface TaskRow {
  /** The name in requests, such as object_detection. */
  name: string;
  /** The task token, such as <OD>, which is also the key of the answer; empty where the prompt itself is the key. */
  token: string;
  /** What the model is asked; {input} stands for the task's input. */
  prompt: string;
  input: TaskInput;
  answer: AnswerKind;
  /** One line for users. */
  description: string;
}

/** Every task of Florence-2's own: one row each. A fine-tune may bring others. */
export const tasks: readonly TaskRow[] = [
  {
    name: "caption",
    token: "<CAPTION>",
    prompt: "What does the image describe?",
    input: "none",
    answer: "pure_text",
    description: "One sentence about the image.",
  },
  {
    name: "detailed_caption",
    token: "<DETAILED_CAPTION>",
    prompt: "Describe in detail what is shown in the image.",
    input: "none",
    answer: "pure_text",
    description: "A few sentences about the image.",
  },
  {
    name: "more_detailed_caption",
    token: "<MORE_DETAILED_CAPTION>",
    prompt: "Describe with a paragraph what is shown in the image.",
    input: "none",
    answer: "pure_text",
    description: "A paragraph about the image.",
  },
  {
    name: "object_detection",
    token: "<OD>",
    prompt: "Locate the objects with category name in the image.",
    input: "none",
    answer: "description_with_bboxes",
    description: "A box and a category name for each object.",
  },
  {
    name: "dense_region_caption",
    token: "<DENSE_REGION_CAPTION>",
    prompt: "Locate the objects in the image, with their descriptions.",
    input: "none",
    answer: "description_with_bboxes",
    description: "A box and a short description for each object.",
  },
  {
    name: "region_proposal",
    token: "<REGION_PROPOSAL>",
    prompt: "Locate the region proposals in the image.",
    input: "none",
    answer: "bboxes",
    description: "Boxes around whatever stands out, without labels.",
  },
  {
    name: "ocr",
    token: "<OCR>",
    prompt: "What is the text in the image?",
    input: "none",
    answer: "pure_text",
    description: "The text in the image.",
  },
  {
    name: "ocr_with_region",
    token: "<OCR_WITH_REGION>",
    prompt: "What is the text in the image, with regions?",
    input: "none",
    answer: "ocr",
    description: "Each line of text with the four corners around it.",
  },
  {
    name: "phrase_grounding",
    token: "<CAPTION_TO_PHRASE_GROUNDING>",
    prompt: "Locate the phrases in the caption: {input}",
    input: "text",
    answer: "phrase_grounding",
    description: "Boxes for the phrases of a caption that you give.",
  },
  {
    name: "referring_segmentation",
    token: "<REFERRING_EXPRESSION_SEGMENTATION>",
    prompt: "Locate {input} in the image with mask",
    input: "text",
    answer: "polygons",
    description: "The outline of the thing that your phrase refers to.",
  },
  {
    name: "region_segmentation",
    token: "<REGION_TO_SEGMENTATION>",
    prompt: "What is the polygon mask of region {input}",
    input: "region",
    answer: "polygons",
    description: "The outline of the object in a region.",
  },
  {
    name: "open_vocabulary_detection",
    token: "<OPEN_VOCABULARY_DETECTION>",
    prompt: "Locate {input} in the image.",
    input: "text",
    answer: "description_with_bboxes_or_polygons",
    description: "Boxes or outlines for the classes that you name.",
  },
  {
    name: "region_category",
    token: "<REGION_TO_CATEGORY>",
    prompt: "What is the region {input}?",
    input: "region",
    answer: "pure_text",
    description: "The category of the object in a region.",
  },
  {
    name: "region_description",
    token: "<REGION_TO_DESCRIPTION>",
    prompt: "What does the region {input} describe?",
    input: "region",
    answer: "pure_text",
    description: "A short description of a region.",
  },
  {
    name: "region_ocr",
    token: "<REGION_TO_OCR>",
    prompt: "What text is in the region {input}?",
    input: "region",
    answer: "pure_text",
    description: "The text in a region.",
  },
  {
    name: "prompt",
    token: "",
    prompt: "{input}",
    input: "any",
    answer: "pure_text",
    description: "Your own prompt, sent as it is, for fine-tuned checkpoints.",
  },
];

/** What of a row tells how a task is written. */
type TaskNames = Pick<TaskRow, "name" | "token">;

/** The row of a task's name or token, among Florence-2's own or those that are given. Throws task_unknown, listing the names. */
export function findTask(nameOrToken: string): TaskRow;
export function findTask<R extends TaskNames>(nameOrToken: string, rows: readonly R[]): R;
export function findTask(nameOrToken: string, rows: readonly TaskNames[] = tasks): TaskNames {
  const row = rows.find(({ name, token }) => nameOrToken !== "" && (name === nameOrToken || token === nameOrToken));
  if (row !== undefined) return row;
  const names = rows.map(({ name }) => name).join(", ");
  throw new ModelError(
    "task_unknown",
    `There is no task ${JSON.stringify(nameOrToken.slice(0, 80))}. The tasks are ${names}.`,
  );
}

/**
 * Reads a task with its input in one text: `name=input`, `name:input`, `<TOKEN>input`, and a name or token alone. What separates a token
 * from its input may stand there too. Throws task_unknown.
 */
export function splitTask<R extends TaskNames>(written: string, rows: readonly R[]): { row: R; input?: string } {
  const [, token, , ofToken] = /^(<[^<>\s]+>)([=:]?)(.*)$/s.exec(written) ?? [];
  if (token !== undefined) return { row: findTask(token, rows), ...(ofToken && { input: ofToken }) };
  const [, name = written, , ofName] = /^([^=:]*)([=:])(.*)$/s.exec(written) ?? [];
  return { row: findTask(name, rows), ...(ofName && { input: ofName }) };
}

/**
 * The text that the model is asked for a task. Spaces around an input are dropped, except in a prompt of one's own,
 * which is sent as it is. Throws task_input_missing, task_input_unexpected or region_invalid.
 */
export function buildPrompt(task: TaskRow, input?: string): string {
  if (task.input === "none") {
    if (input === undefined || strip(input) === "") return task.prompt;
    throw new ModelError("task_input_unexpected", `The task ${task.name} takes no input.`);
  }
  const given = strip(input ?? "");
  if (input === undefined || given === "") {
    const needed = { text: "a text", region: "a region", any: "the prompt as its text" }[task.input];
    throw new ModelError("task_input_missing", `The task ${task.name} needs ${needed}.`);
  }
  if (task.input === "any") return input;
  if (task.input === "region") checkRegion(given);
  return task.prompt.replace("{input}", () => given);
}

/** The key of a task's answer: its token or, for a prompt of one's own, the prompt, as the reference has it. */
export function answerKey(task: TaskRow, input?: string): string {
  return task.token === "" ? (input ?? "") : task.token;
}

// Only texts that the tokenizer turns into four location tokens; <loc_07> would be spelled out in letters.
const fourLocations = /^<loc_(0|[1-9]\d{0,2})><loc_(0|[1-9]\d{0,2})><loc_(0|[1-9]\d{0,2})><loc_(0|[1-9]\d{0,2})>$/;

function checkRegion(text: string): void {
  const [x1, y1, x2, y2] = fourLocations.exec(text)?.slice(1).map(Number) ?? [];
  if (x1 === undefined || y1 === undefined || x2 === undefined || y2 === undefined)
    throw new ModelError(
      "region_invalid",
      "A region is written as four location tokens: <loc_x1><loc_y1><loc_x2><loc_y2>, each from 0 to 999.",
    );
  checkCorners({ x1, y1, x2, y2 });
}

/** Several classes of open_vocabulary_detection as one input. Throws task_input_missing where none is named. */
export function joinClasses(classes: readonly string[]): string {
  const named = classes.map(strip).filter((name) => name !== "");
  if (named.length === 0) throw new ModelError("task_input_missing", "Name at least one class.");
  return named.join("<and>");
}
