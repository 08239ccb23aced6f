import { countEvents, createEvents } from "@florence/service";
import { type EmbeddingEvents, embeddingEvents } from "../src/index.ts";

/** Events for what is tested, and how often each was heard. */
export function heard(): { events: EmbeddingEvents; counts: Record<keyof typeof embeddingEvents, number> } {
  const { counts, listener } = countEvents(embeddingEvents);
  return { events: createEvents(embeddingEvents, [listener]), counts };
}
