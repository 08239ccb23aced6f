export { type Alias, AliasMap, type AliasParts, aliasName } from "./alias.ts";
export { type Decoded, decode, encode, type Flaw, headerBytes } from "./codec.ts";
export { type Embedding, isWhole } from "./embedding.ts";
export { type EmbeddingEvents, embeddingEvents, logEmbeddings } from "./events.ts";
export { EmbeddingHolders, type Holder, type HoldersOptions } from "./holders.ts";
export {
  type EmbeddingDtype,
  embeddingKey,
  embeddingKeyCharactersMax,
  embeddingKeyDtype,
  embeddingKeyPrefix,
  isEmbeddingKey,
  type KeyParts,
  tenantSalt,
} from "./key.ts";
export { MemoryStore, type MemoryStoreOptions } from "./memory-store.ts";
export { type Landing, SingleFlight } from "./single-flight.ts";
export type { EmbeddingStore, Found, Tier } from "./store.ts";
