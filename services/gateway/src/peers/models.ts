import type { Model } from "@florence/proto/model";
import { Fault } from "@florence/service";
import type { DecoderClient, EncoderClient } from "../annotate/encode.ts";

/** The checkpoint that both services have loaded. Graphs may be stored in different precisions. */
export interface LoadedModels {
  readonly encoder: Model;
  readonly decoder: Model;
}

// Probes and requests come far more often than a checkpoint changes; a second is what a rollout may show stale.
const freshMs = 1000;
// A health check that takes longer has failed.
const probeMs = 2000;

/** Knows whether both services answer and agree. Asks them at most once a second, however often it is asked itself. */
export class ModelProbe {
  readonly #encoder: EncoderClient;
  readonly #decoder: DecoderClient;
  #last: { at: number; models: Promise<LoadedModels> } | undefined;
  #known: LoadedModels | undefined;

  constructor(encoder: EncoderClient, decoder: DecoderClient) {
    this.#encoder = encoder;
    this.#decoder = decoder;
  }

  /** Throws `unavailable` when a service does not answer or the two have loaded different checkpoints. */
  get(): Promise<LoadedModels> {
    const now = performance.now();
    if (this.#last === undefined || now - this.#last.at > freshMs) {
      const models = this.#ask();
      models.catch(() => {}); // A failure is cached too; each caller gets it from its own await.
      this.#last = { at: now, models };
    }
    return this.#last.models;
  }

  /** The models as last seen: a moment's silence of a service neither fails nor delays a call that can do without it. */
  async known(): Promise<LoadedModels> {
    const models = this.get();
    return this.#known ?? (await models); // The first one waits; later ones only have it looked up anew.
  }

  async #ask(): Promise<LoadedModels> {
    const [encoder, decoder] = await Promise.all([
      asked("encoder", this.#encoder.getEncoderModel({}, { deadlineMs: probeMs })),
      asked("decoder", this.#decoder.getDecoderModel({}, { deadlineMs: probeMs })),
    ]);
    if (encoder.digest !== decoder.digest) {
      throw new Fault("unavailable", "Encoder and decoder have loaded different checkpoints.", {
        internal: `Encoder ${encoder.name} ${encoder.digest}, decoder ${decoder.name} ${decoder.digest}.`,
      });
    }
    this.#known = { encoder, decoder };
    return this.#known;
  }
}

async function asked(service: string, answer: Promise<{ model?: Model | undefined }>): Promise<Model> {
  try {
    const { model } = await answer;
    if (model !== undefined) return model;
  } catch (cause) {
    throw new Fault("unavailable", `The ${service} does not answer.`, { cause });
  }
  throw new Fault("unavailable", `The ${service} has no model.`);
}

/** The answer of GET /v1/models. */
export function modelsJson({ encoder, decoder }: LoadedModels) {
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

/** null where the variant was never verified. */
function parsed(json: string): unknown {
  return json === "" ? null : JSON.parse(json);
}
