import type { Manifest } from "../compile/manifest.ts";
import type { Grammar } from "../generation/grammar.ts";
import { newSearch } from "../generation/new-search.ts";
import type { GenerationOptions } from "../generation/options.ts";
import type { Finished } from "../generation/search.ts";
import type { DecodeBatch, Sequence } from "./decode-batch.ts";
import type { PromptModel } from "./prompt-model.ts";

export interface GenerateRequest {
  /** Prompt ids with <s> and </s>. */
  readonly promptIds: readonly number[];
  readonly options: GenerationOptions;
  readonly grammar?: Grammar | undefined;
}

/**
 * Answers prompts about one image, as many at once as the batch has room for. For scripts and tests: services schedule by themselves.
 * `features`: float32 [image_tokens, hidden]; `vocabulary`: ids that the tokenizer knows. Throws a RangeError when a request has more beams
 * than the batch has rows.
 */
export async function generate(
  model: { prompts: PromptModel; batch: DecodeBatch; manifest: Manifest },
  features: Float32Array,
  requests: readonly GenerateRequest[],
  vocabulary: number,
): Promise<Finished[]> {
  const results: Finished[] = Array(requests.length);
  const places = new Map<Sequence, number>();
  let next = 0;
  while (next < requests.length || places.size > 0) {
    for (; next < requests.length; next++) {
      const { promptIds, options, grammar } = requests[next] as GenerateRequest;
      if (options.numBeams > model.batch.limits.rowsMax)
        throw new RangeError(`${options.numBeams} beams do not fit a batch of ${model.batch.limits.rowsMax} rows`);
      if (!model.batch.hasRoom(options.numBeams)) break;
      using encoded = await model.prompts.encode([features], [{ ids: promptIds, image: 0 }]);
      const search = newSearch(model.manifest.config, options, vocabulary, grammar);
      places.set(model.batch.join(search, options.numBeams, encoded, 0), next);
    }
    for (const { sequence, advance } of await model.batch.step()) {
      if (advance.kind !== "done") continue;
      results[places.get(sequence) as number] = advance.finished;
      places.delete(sequence);
    }
  }
  return results;
}
