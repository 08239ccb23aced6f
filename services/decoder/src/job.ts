import type { AnswerKind, Finished, GenerationOptions } from "@florence/model";
import type { TaskTiming } from "./events.ts";

/** One answer to generate. */
export interface JobTask {
  /** Prompt ids with <s> and </s>. */
  readonly promptIds: readonly number[];
  readonly options: GenerationOptions;
  /** Allow only well-formed answers of this kind. */
  readonly constrain?: AnswerKind;
}

/** All tasks of one request, about one image. */
export interface Job {
  /** The call's number in this process. */
  readonly call: number;
  /** The embedding's key: jobs of the same key share one copy in a prompt batch. */
  readonly imageKey: string;
  readonly features: Float32Array; // [image_tokens, hidden]
  readonly tasks: readonly JobTask[];
  /** Whether token events are wanted. */
  readonly stream: boolean;
}

/** What the batch holds: sequences, rows of the KV pool out of those it has, and bytes of attention keys and values. */
export interface Usage {
  readonly sequences: number;
  readonly rows: number;
  readonly rowsMax: number;
  readonly kvBytes: number;
}

/** One run of the prompt graph. */
export interface PromptBatch {
  readonly prompts: number;
  readonly images: number;
  readonly promptMs: number;
  /** Tokens of the prompts, and of the prompts as they were run, each as long as the longest. */
  readonly promptTokens: number;
  readonly paddedTokens: number;
  /** Whose prompts they are: each call's number, once a prompt. */
  readonly calls: readonly number[];
}

/** What happens to a job's tasks; `task` is the index. Times are milliseconds. `batch` comes with the first task of its run. */
export type JobEvent =
  | {
      readonly kind: "started";
      readonly task: number;
      readonly queueMs: number;
      readonly batch: PromptBatch | undefined;
      readonly usage: Usage;
    }
  | { readonly kind: "token"; readonly task: number; readonly id: number; readonly logProb: number }
  | {
      readonly kind: "finished";
      readonly task: number;
      readonly finished: Finished;
      readonly timing: TaskTiming;
      readonly usage: Usage;
    };
