export { type Alias, AliasMap, type AliasParts, type AliasWarning, aliasName } from "./alias.ts";
export { type Decoded, EmbeddingCodec, type Flaw, headerBytes } from "./codec.ts";
export { allFinite, type Embedding, isWhole } from "./embedding.ts";
export { type EmbeddingEvents, embeddingEvents } from "./events.ts";
export { type HolderAddresses, holderAddresses } from "./holder-address.ts";
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
export { logEmbeddings } from "./log.ts";
export { MemoryStore, type MemoryStoreOptions } from "./memory-store.ts";
export { Seal, type SealedKind } from "./seal.ts";
export { type Landing, SingleFlight } from "./single-flight.ts";
export type { EmbeddingStore, Found, Tier } from "./store.ts";
