import type { Embedding } from "../embedding.ts";
import type { MemoryStore } from "../memory-store.ts";
import { SingleFlight } from "../single-flight.ts";
import type { EmbeddingStore, Found } from "../store.ts";
import type { NatsStore } from "./store.ts";

/**
 * This process's memory in front of the cluster's NATS. What is found there is kept here; concurrent reads of one key
 * share one request. It owns both stores and disposes of them.
 */
export class TieredStore implements EmbeddingStore {
  readonly memory: MemoryStore;
  readonly remote: NatsStore;
  readonly #flights = new SingleFlight<Embedding | undefined>();

  constructor({ memory, remote }: { memory: MemoryStore; remote: NatsStore }) {
    this.memory = memory;
    this.remote = remote;
  }

  async get(key: string, signal?: AbortSignal): Promise<Embedding | undefined> {
    return (await this.find(key, signal))?.embedding;
  }

  async find(key: string, signal?: AbortSignal): Promise<Found | undefined> {
    const near = await this.memory.find(key);
    if (near) return near;
    const { value: embedding } = await this.#flights.run(key, (last) => this.#fetch(key, last), signal);
    return embedding && { embedding, tier: "nats" };
  }

  /** Keeps it here, and in NATS later. */
  async put(key: string, embedding: Embedding): Promise<void> {
    await this.memory.put(key, embedding);
    await this.remote.put(key, embedding);
  }

  async keep(key: string, embedding: Embedding): Promise<void> {
    await this.memory.keep(key, embedding);
  }

  async has(key: string, signal?: AbortSignal): Promise<boolean> {
    return (await this.memory.has(key)) || this.remote.has(key, signal);
  }

  /** As long as this process holds it; how long NATS will is not known for sure, since a full bucket forgets. */
  expiresInMs(key: string): number | undefined {
    return this.memory.expiresInMs(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remote[Symbol.asyncDispose]();
    await this.memory[Symbol.asyncDispose]();
  }

  async #fetch(key: string, signal: AbortSignal): Promise<Embedding | undefined> {
    const embedding = await this.remote.get(key, signal);
    if (embedding) await this.memory.put(key, embedding);
    return embedding;
  }
}
