import { decode, type Embedding } from "@florence/embeddings";
import type { Encoder } from "@florence/proto/encoder";
import type { Client } from "@florence/service";

// An embedding moves in milliseconds; a holder that takes longer is as good as gone.
const fetchMs = 1_000;

/** An embedding from the encoder that made it, or undefined where that has none or cannot be reached in time. */
export async function fetchEmbedding(
  from: Client<typeof Encoder>,
  key: string,
  signal: AbortSignal,
): Promise<Embedding | undefined> {
  try {
    const decoded = decode((await from.getEmbedding({ key }, { signal, deadlineMs: fetchMs })).value);
    return "embedding" in decoded ? decoded.embedding : undefined;
  } catch {
    // Whatever is wrong with it, there are other ways to the embedding.
    signal.throwIfAborted();
    return undefined;
  }
}
