import { readJsonAnswer, toAnswer } from "@florence/model/answers";
import type { TaskRow } from "@florence/model/tasks";
import {
  FinishReason,
  type GenerateResponse,
  type Region,
  RegionShape,
  type TaskResult,
} from "@florence/proto/decoder";
import type { Problem } from "../http/problem.ts";
import type { CacheReport } from "./encode.ts";
import type { TaskRequest } from "./task-request.ts";
import type { WarningJson } from "./warnings.ts";

/** `image` of an answer. */
export interface ImageJson {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** RFC 3339; null where nobody promises anything. */
  readonly expires_at: string | null;
}

/** What an answer says beside its results. */
export interface SummaryJson {
  readonly id: string;
  readonly model: { readonly name: string; readonly digest: string; readonly precision: string };
  readonly image: ImageJson;
  /** What was done to the image and could surprise; absent where nothing was, or nothing is known. */
  readonly warnings?: readonly WarningJson[];
  readonly cache: CacheReport;
  readonly timing_ms: Readonly<Record<string, number>>;
}

/** One task's success in `results`. */
export interface ResultJson {
  readonly task: string;
  readonly token: string;
  readonly answer: ReturnType<typeof toAnswer>;
  readonly text: string;
  readonly score: number;
  readonly finish_reason: "stop" | "length";
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
  readonly ids?: readonly number[];
  readonly prompt_ids?: readonly number[];
  readonly token_log_probs?: readonly number[];
  /** What was done to the task's text, or is odd about its answer; absent where nothing could surprise. */
  readonly warnings?: readonly WarningJson[];
}

/** One task's failure in `results`. */
export interface ErrorJson {
  readonly task: string;
  readonly error: Problem;
}

/** Everything that happens in a call, in the order in which it happens; names and shapes are those of the event stream. */
export type AnnotateEvent =
  | { event: "started"; data: { index: number; task: string; prompt_tokens: number } }
  | { event: "token"; data: { index: number; id: number; text: string; log_prob: number } }
  | { event: "object"; data: { index: number; label: string; score?: number } & RegionJson }
  | { event: "result"; data: { index: number } & ResultJson }
  | { event: "error"; data: { index: number } & ErrorJson }
  | { event: "done"; data: SummaryJson };

type RegionJson = { bbox: number[] } | { quad_box: number[] } | { polygons: number[][] };

/** A region as it closes: the single form of what the answer holds in plural. */
export function regionJson(region: Region): { label: string; score?: number } & RegionJson {
  const rings = region.rings.map(({ coordinates }) => coordinates);
  const common = { label: region.label, ...(region.score !== undefined && { score: float(region.score) }) };
  if (region.shape === RegionShape.POLYGON) return { ...common, polygons: rings };
  const [first = []] = rings;
  return region.shape === RegionShape.QUAD ? { ...common, quad_box: first } : { ...common, bbox: first };
}

/** A task's result as it stands in the answer. */
export function resultJson(task: TaskRequest, result: TaskResult, details: boolean): ResultJson {
  const { row, input } = task;
  const warnings: WarningJson[] = [...task.warnings, ...(isNoJson(row, result) ? [noJson] : [])];
  const regions = result.regions.map(({ shape, label, rings }) => ({
    shape: shapes.get(shape) ?? ("box" as const),
    label,
    rings: rings.map(({ coordinates }) => coordinates),
  }));
  const scores = result.regions.map(({ score }) => (score === undefined ? null : float(score)));
  return {
    task: row.name,
    token: row.token,
    answer: toAnswer(row, { text: result.answerText, regions, scores }, typeof input === "string" ? input : undefined),
    text: result.text,
    score: float(result.score),
    finish_reason: result.finishReason === FinishReason.LENGTH ? "length" : "stop",
    usage: {
      prompt_tokens: result.promptIds.length,
      // The first id is the decoder's start token, which nobody generated.
      completion_tokens: Math.max(0, result.ids.length - 1),
    },
    ...(warnings.length > 0 && { warnings }),
    ...(details && {
      ids: result.ids,
      prompt_ids: result.promptIds,
      token_log_probs: result.tokenLogProbs.map(float),
    }),
  };
}

const noJson: WarningJson = {
  code: "answer_not_json",
  message: "The model's text is no JSON that can be used: the answer is the text itself.",
};

function isNoJson({ answer }: TaskRow, { answerText }: TaskResult): boolean {
  return answer === "json" && readJsonAnswer(answerText) === undefined;
}

const shapes = new Map<RegionShape, "quad" | "polygon">([
  [RegionShape.QUAD, "quad"],
  [RegionShape.POLYGON, "polygon"],
]);

/** Whether all of an event's numbers are some: JSON has no NaN, and null in its place would pass for a value that is not known. */
export function isFiniteEvent(event: GenerateResponse["event"]): boolean {
  if (event.case === "token") return Number.isFinite(event.value.logProb);
  if (event.case === "region") return isFiniteRegion(event.value);
  if (event.case !== "result") return true;
  const { score, tokenLogProbs, regions, queueMs, promptMs, decodeMs } = event.value;
  return [score, queueMs, promptMs, decodeMs, ...tokenLogProbs].every(Number.isFinite) && regions.every(isFiniteRegion);
}

/** Corners are whole numbers as they come. */
function isFiniteRegion({ score = 0 }: Region): boolean {
  return Number.isFinite(score);
}

/** A float32 with the digits it has; as a float64 it would show nine more that mean nothing. */
export function float(value: number): number {
  return Number(value.toPrecision(7));
}
