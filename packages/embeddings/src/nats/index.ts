export { type BucketEntry, NatsBucket, NatsRefusal, NatsUnavailable } from "./bucket.ts";
export { connectNats, NatsConfigError, type NatsLink, type NatsOptions } from "./connection.ts";
export type { Lease } from "./lease.ts";
export {
  type Acquired,
  Leases,
  type LeasesOptions,
  type Waited,
  type WaitOptions,
} from "./leases.ts";
export { openServiceStores, openStores, type StoreBounds, type Stores, type StoreUser } from "./open-stores.ts";
export { RemoteAliases, type RemoteAliasesOptions } from "./remote-aliases.ts";
export { NatsStore, type NatsStoreOptions } from "./store.ts";
export type { BucketSettings } from "./stream.ts";
export { TieredStore } from "./tiered-store.ts";
