import { type AnswerKind, type Grammar, type Hypothesis, type Manifest, newSearch } from "@florence/model";
import type { DecodeBatch, PromptModel, Sequence } from "@florence/model/inference";
import type { Job, JobEvent, JobTask, PromptBatch, Usage } from "./job.ts";

export interface SchedulerOptions {
  /** Prompts in one run of the prompt graph. */
  readonly promptBatchMax: number;
  /** Ids that the tokenizer knows. */
  readonly vocabulary: number;
  /** The grammar of an answer kind; undefined where every text is well formed. */
  readonly grammarOf: (kind: AnswerKind) => Grammar | undefined;
}

interface Active {
  readonly job: Job;
  readonly signal: AbortSignal;
  readonly emit: (event: JobEvent) => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  readonly arrived: number;
  /** Index of the next task that waits. */
  next: number;
  unfinished: number;
}

interface Running {
  readonly active: Active;
  readonly task: number;
  readonly queueMs: number;
  readonly promptMs: number;
  readonly began: number;
}

/**
 * Continuous batching: sequences of all jobs share each decode step and join and leave between steps. Jobs take turns in giving a
 * task, so one of 32 tasks does not hold up one of a single task. Callers bound how many jobs there are.
 */
export class Scheduler {
  readonly #prompts: PromptModel;
  readonly #batch: DecodeBatch;
  readonly #manifest: Manifest;
  readonly #options: SchedulerOptions;
  /** Jobs with tasks that wait, in the order of their turns. */
  #waiting: Active[] = [];
  readonly #jobs = new Set<Active>();
  readonly #running = new Map<Sequence, Running>();
  #looping = false;

  constructor(models: { prompts: PromptModel; batch: DecodeBatch; manifest: Manifest }, options: SchedulerOptions) {
    this.#prompts = models.prompts;
    this.#batch = models.batch;
    this.#manifest = models.manifest;
    this.#options = options;
  }

  /** What the batch holds now: both return to zero when nothing runs. */
  get usage(): Usage {
    const { rowsMax } = this.#batch.limits;
    return {
      sequences: this.#running.size,
      rows: rowsMax - this.#batch.room.rows,
      rowsMax,
      kvBytes: this.#batch.bytes,
    };
  }

  /** Generates all answers of a job; resolves after its last event. An abort takes its sequences out within one step. */
  run(job: Job, signal: AbortSignal, emit: (event: JobEvent) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const active: Active = {
        job,
        signal,
        emit,
        resolve,
        reject,
        arrived: performance.now(),
        next: 0,
        unfinished: job.tasks.length,
      };
      if (job.tasks.length === 0) return resolve();
      this.#jobs.add(active);
      this.#waiting.push(active);
      signal.addEventListener("abort", () => this.#drop(active), { once: true });
      if (!this.#looping) void this.#loop();
    });
  }

  async #loop(): Promise<void> {
    this.#looping = true;
    try {
      while (this.#jobs.size > 0) {
        await this.#admit();
        await this.#step();
      }
    } catch (error) {
      // A model that failed once may hold anything: the worker dies of this, and every caller learns that it did.
      for (const active of this.#jobs) active.reject(error);
      throw error;
    } finally {
      this.#looping = false;
    }
  }

  /** Encodes waiting prompts in one padded batch and lets them join. */
  async #admit(): Promise<void> {
    const chosen = this.#choose();
    if (chosen.length === 0) return;
    const began = performance.now();
    const images = new Map<string, { index: number; features: Float32Array }>();
    for (const { active } of chosen) {
      const { imageKey, features } = active.job;
      if (!images.has(imageKey)) images.set(imageKey, { index: images.size, features });
    }
    using encoded = await this.#prompts.encode(
      [...images.values()].map((image) => image.features),
      chosen.map(({ active, task }) => ({
        ids: taskOf(active, task).promptIds,
        image: images.get(active.job.imageKey)?.index as number,
      })),
    );
    const promptMs = performance.now() - began;
    const lengths = chosen.map(({ active, task }) => taskOf(active, task).promptIds.length);
    let batch: PromptBatch | undefined = {
      prompts: chosen.length,
      images: images.size,
      promptMs,
      promptTokens: lengths.reduce((sum, length) => sum + length, 0),
      paddedTokens: chosen.length * this.#prompts.bucketOf(Math.max(...lengths)),
      calls: chosen.map(({ active }) => active.job.call),
    };
    for (const [i, { active, task }] of chosen.entries()) {
      if (active.signal.aborted) continue;
      const { options, constrain } = taskOf(active, task);
      const { vocabulary, grammarOf } = this.#options;
      const search = newSearch(this.#manifest.config, options, vocabulary, constrain && grammarOf(constrain));
      const sequence = this.#batch.join(search, options.numBeams, encoded, i);
      const queueMs = began - active.arrived;
      this.#running.set(sequence, { active, task, queueMs, promptMs, began: performance.now() });
      active.emit({ kind: "started", task, queueMs, batch, usage: this.usage });
      batch = undefined;
    }
  }

  /** The tasks whose turn it is and for which the batch has room. */
  #choose(): { active: Active; task: number }[] {
    const chosen: { active: Active; task: number }[] = [];
    const callMax = Math.min(this.#options.promptBatchMax, this.#prompts.promptsMax);
    let room = this.#batch.room;
    let bucket: number | undefined;
    while (chosen.length < callMax) {
      const active = this.#waiting[0];
      if (!active) break;
      const { promptIds, options } = taskOf(active, active.next);
      const { numBeams } = options;
      bucket ??= this.#prompts.bucketOf(promptIds.length);
      if (this.#prompts.bucketOf(promptIds.length) !== bucket) break; // it begins the next call
      // The first in line waits for its room: passing it over for smaller ones could starve it.
      if (room.sequences < 1 || room.rows < numBeams) break;
      room = { sequences: room.sequences - 1, rows: room.rows - numBeams };
      chosen.push({ active, task: active.next++ });
      this.#waiting.shift();
      if (active.next < active.job.tasks.length) this.#waiting.push(active);
    }
    return chosen;
  }

  async #step(): Promise<void> {
    for (const { sequence, advance } of await this.#batch.step()) {
      const running = this.#running.get(sequence);
      if (!running) continue; // it was dropped while the step ran
      const { active, task, queueMs, promptMs, began } = running;
      if (active.job.stream && sequence.beams === 1) {
        const grown = advance.kind === "done" ? advance.finished : sequence.search.hypotheses[0];
        const { ids, logProbs } = grown as Hypothesis;
        active.emit({ kind: "token", task, id: ids.at(-1) as number, logProb: logProbs.at(-1) as number });
      }
      if (advance.kind !== "done") continue;
      this.#running.delete(sequence);
      const timing = { queueMs, promptMs, decodeMs: performance.now() - began };
      active.emit({ kind: "finished", task, finished: advance.finished, timing, usage: this.usage });
      if (--active.unfinished > 0) continue;
      this.#jobs.delete(active);
      active.resolve();
    }
  }

  #drop(active: Active): void {
    if (!this.#jobs.delete(active)) return;
    this.#waiting = this.#waiting.filter((other) => other !== active);
    for (const [sequence, running] of this.#running) {
      if (running.active !== active) continue;
      this.#running.delete(sequence);
      this.#batch.leave(sequence);
    }
    active.reject(active.signal.reason);
  }
}

function taskOf(active: Active, index: number): JobTask {
  return active.job.tasks[index] as JobTask;
}
