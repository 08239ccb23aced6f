import { basename, dirname } from "node:path";
import { ModelError } from "../errors.ts";
import { type AnswerKind, type TaskRow, taskInputs, tasks } from "../tasks.ts";
import { type Json, readJson } from "./files.ts";

/** What tasks.json calls the kinds of answers. */
const kindsByName: Readonly<Record<string, AnswerKind>> = {
  text: "pure_text",
  json: "json",
  boxes: "description_with_bboxes",
  phrase_boxes: "phrase_grounding",
  unlabelled_boxes: "bboxes",
  quads: "ocr",
  polygons: "polygons",
  boxes_or_polygons: "description_with_bboxes_or_polygons",
};
// A prompt of one's own is a task already.
const inputs = taskInputs.filter((input) => input !== "any");
const keys = ["name", "token", "prompt", "input", "answer", "description"];

// A fine-tune has a handful of tasks of its own; each is listed to every caller.
const tasksMax = 64;
// The longest of Florence-2's own has 60 characters; a prompt's tokens are counted when it is asked.
const promptCharactersMax = 2000;

/**
 * A fine-tune's own tasks from a tasks.json: { "tasks": [{ "name", "token", "prompt", "input", "answer", "description" }] }. Only the
 * name is needed: the token is then the name in capitals between < and >, the prompt the token, followed by the input where there is one.
 * Empty where there is no such file. Throws checkpoint_config_invalid naming the row.
 */
export function readTasksFile(file: string): TaskRow[] {
  const json = readJson(dirname(file), basename(file));
  if (!json) return [];
  const { tasks: list } = json;
  if (!Array.isArray(list) || list.length > tasksMax)
    throw invalid(file, `it must hold a list "tasks" of at most ${tasksMax} rows`);
  const rows = list.map((row: unknown, i) => toRow(file, row, i));
  for (const [i, { name, token }] of rows.entries()) {
    const others = [...tasks, ...rows.slice(0, i)];
    if (others.some((other) => [name, token].includes(other.name) || other.token === token))
      throw invalid(file, `the task ${name} (${token}) is there already`);
  }
  return rows;
}

function toRow(file: string, row: unknown, index: number): TaskRow {
  if (typeof row !== "object" || row === null || Array.isArray(row))
    throw invalid(file, `row ${index + 1} is no object`);
  const json = row as Json;
  const unknown = Object.keys(json).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw invalid(file, `row ${index + 1} has an unknown key ${unknown}`);
  const name = string(json.name);
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(name))
    throw invalid(file, `row ${index + 1} needs a name of small letters, digits and _`);
  const token = string(json.token ?? `<${name.toUpperCase()}>`);
  if (!/^<[^<>\s]{1,64}>$/.test(token)) throw invalid(file, `the token of ${name} must stand between < and >`);
  const wanted = string(json.input ?? (string(json.prompt).includes("{input}") ? "text" : "none"));
  const input = inputs.find((known) => known === wanted);
  if (!input) throw invalid(file, `the input of ${name} must be one of ${inputs.join(", ")}`);
  const prompt = string(json.prompt ?? (input === "none" ? token : `${token}{input}`));
  if (prompt === "" || prompt.length > promptCharactersMax || prompt.includes("{input}") !== (input !== "none"))
    throw invalid(file, `the prompt of ${name} must hold {input} exactly where the task takes one`);
  const answer = kindsByName[string(json.answer ?? "text")];
  if (!answer) throw invalid(file, `the answer of ${name} must be one of ${Object.keys(kindsByName).join(", ")}`);
  const description = string(json.description ?? "A task of this checkpoint's own.");
  return { name, token, prompt, input, answer, description };
}

const string = (value: unknown): string => (typeof value === "string" ? value : "");

function invalid(file: string, what: string): ModelError {
  return new ModelError("checkpoint_config_invalid", `${basename(file)} cannot be used: ${what}.`);
}
