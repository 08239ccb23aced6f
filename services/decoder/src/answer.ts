import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Finished,
  type ImageSize,
  parseAnswer,
  type Region,
  RegionStream,
  type Score,
  scoreRegions,
  type TaskRow,
  type TextStream,
  type Tokenizer,
} from "@florence/model";
import { FinishReason, type GenerateResponseSchema, RegionShape } from "@florence/proto/decoder";
import type { TaskTiming } from "./events.ts";
import type { JobEvent, JobTask } from "./job.ts";

/** One event of a call, as it goes on the wire. */
export type Event = NonNullable<MessageInitShape<typeof GenerateResponseSchema>["event"]>;

const shapes = { box: RegionShape.BOX, quad: RegionShape.QUAD, polygon: RegionShape.POLYGON } as const;

/** One task's answer while it grows: tokens in, events out. */
export class AnswerBuilder {
  readonly #tokenizer: Tokenizer;
  readonly #row: TaskRow;
  readonly #job: JobTask;
  readonly #size: ImageSize;
  readonly #text: TextStream;
  readonly #regions: RegionStream;
  readonly #ids: number[];
  readonly #logProbs: number[] = [];

  constructor(tokenizer: Tokenizer, row: TaskRow, job: JobTask, size: ImageSize, startId: number) {
    this.#tokenizer = tokenizer;
    this.#row = row;
    this.#job = job;
    this.#size = size;
    this.#text = tokenizer.stream();
    this.#regions = new RegionStream(row.answer, size);
    this.#ids = [startId];
    this.#regions.push(this.#text.push(startId));
  }

  /** The name of its task. */
  get task(): string {
    return this.#row.name;
  }

  /** Tokens of the prompt. */
  get promptTokens(): number {
    return this.#job.promptIds.length;
  }

  /** Tokens that were told one by one. */
  get streamedTokens(): number {
    return this.#logProbs.length;
  }

  /** What goes on the wire for one piece of the worker's news. */
  events(news: JobEvent): Event[] {
    if (news.kind === "started") return [{ case: "started", value: { promptTokens: this.promptTokens } }];
    if (news.kind === "token") return this.#token(news.id, news.logProb);
    return this.#finished(news.finished, news.timing);
  }

  /** The events of one more token: itself, and every region that it completes. */
  #token(id: number, logProb: number): Event[] {
    this.#ids.push(id);
    this.#logProbs.push(logProb);
    const text = this.#text.push(id);
    return [{ case: "token", value: { id, text, logProb } }, ...this.#regionEvents(this.#regions.push(text))];
  }

  /** The events of the end: regions that only the end makes certain, when tokens were streamed, and the result. */
  #finished(finished: Finished, timing: TaskTiming): Event[] {
    const streamed = this.streamedTokens > 0;
    const last = streamed ? [...this.#regions.push(this.#text.flush()), ...this.#regions.finish()] : [];
    const pieces = this.#tokenizer.pieces(finished.ids);
    const parsed = parseAnswer(this.#row.answer, pieces.text, this.#size);
    const scores = scoreRegions(parsed.regions, pieces, finished.logProbs);
    const result: Event = {
      case: "result",
      value: {
        text: pieces.text,
        answerText: parsed.text ?? "",
        regions: parsed.regions.map((region, i) => toWire(region, scores[i] ?? null)),
        ids: [...finished.ids],
        promptIds: [...this.#job.promptIds],
        tokenLogProbs: [...finished.logProbs],
        score: finished.score,
        finishReason: finished.reason === "stop" ? FinishReason.STOP : FinishReason.LENGTH,
        ...timing,
      },
    };
    return [...this.#regionEvents(last), result];
  }

  #regionEvents(regions: readonly Region[]): Event[] {
    if (regions.length === 0) return [];
    const scores = scoreRegions(regions, this.#tokenizer.pieces(this.#ids), this.#logProbs);
    return regions.map((region, i) => ({ case: "region", value: toWire(region, scores[i] ?? null) }));
  }
}

function toWire(region: Region, score: Score) {
  return {
    shape: shapes[region.shape],
    label: region.label,
    rings: region.rings.map((coordinates) => ({ coordinates: [...coordinates] })),
    ...(score !== null && { score }),
  };
}
