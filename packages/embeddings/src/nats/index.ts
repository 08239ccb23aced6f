export { type BucketEntry, NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
export { connectNats, NatsConfigError, type NatsLink, type NatsOptions, type NatsStatus } from "./connection.ts";
export type { Lease } from "./lease.ts";
export {
  type Acquired,
  Leases,
  type LeasesCounters,
  type LeasesOptions,
  type Waited,
  type WaitOptions,
} from "./leases.ts";
export { openStores, type StoreBounds, type Stores } from "./open-stores.ts";
export { RemoteAliases, type RemoteAliasesCounters, type RemoteAliasesOptions } from "./remote-aliases.ts";
export { NatsStore, type NatsStoreCounters, type NatsStoreOptions } from "./store.ts";
export type { BucketSettings } from "./stream.ts";
export { TieredStore } from "./tiered-store.ts";
