import type { ModelConfig } from "../checkpoint/config.ts";
import { BeamSearch } from "./beam.ts";
import type { Grammar } from "./grammar.ts";
import { GreedySearch } from "./greedy.ts";
import type { GenerationOptions } from "./options.ts";
import { rulesOf } from "./rules.ts";
import type { Search } from "./search.ts";

/**
 * A search for one answer. `vocabulary`: ids that the tokenizer knows; the embedding table may have padding rows above. `grammar` allows
 * only well-formed answers.
 */
export function newSearch(
  config: ModelConfig,
  options: GenerationOptions,
  vocabulary: number,
  grammar?: Grammar,
): Search {
  const { forcedBos, forcedEos } = config.generation;
  const settings = {
    options,
    start: config.text.decoderStart,
    eos: config.text.eos,
    forcedBos,
    forcedEos,
    rules: rulesOf(config.generation),
    vocabulary,
    grammar,
  };
  return options.numBeams === 1 ? new GreedySearch(settings) : new BeamSearch(settings);
}
