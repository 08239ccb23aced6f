import { Fault } from "@florence/service";
import type { ModelPair } from "../peers/agreement.ts";

/** The answer of GET /v1/models. */
export function modelsJson({ encoder, decoder }: ModelPair) {
  return {
    object: "list",
    data: [
      {
        id: decoder.name,
        object: "model",
        digest: decoder.digest,
        precision: { encoder: encoder.precision, decoder: decoder.precision },
        image_size: encoder.imageSize,
        image_tokens: encoder.imageTokens,
        hidden_size: encoder.hiddenSize,
        prompt_tokens_max: decoder.promptTokensMax,
        new_tokens_max: decoder.newTokensMax,
        num_beams: decoder.numBeams,
        verification: { encoder: parsed(encoder.verificationJson), decoder: parsed(decoder.verificationJson) },
      },
    ],
  };
}

/** null where the variant was never verified. Throws `unavailable` for what is no JSON. */
function parsed(json: string): unknown {
  try {
    return json === "" ? null : JSON.parse(json);
  } catch (cause) {
    throw new Fault("unavailable", "A service describes its model in a way that cannot be read.", { cause });
  }
}
