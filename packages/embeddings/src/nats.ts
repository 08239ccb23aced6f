export type { Lease } from "./lease.ts";
export {
  type Acquired,
  Leases,
  type LeasesCounters,
  type LeasesOptions,
  type Waited,
  type WaitOptions,
} from "./leases.ts";
export { type BucketEntry, NatsBucket, NatsRefusal, NatsUnavailable } from "./nats-bucket.ts";
export { connectNats, NatsConfigError, type NatsLink, type NatsOptions, type NatsStatus } from "./nats-connection.ts";
export { NatsStore, type NatsStoreCounters, type NatsStoreOptions } from "./nats-store.ts";
export type { BucketSettings } from "./nats-stream.ts";
export { RemoteAliases, type RemoteAliasesCounters, type RemoteAliasesOptions } from "./remote-aliases.ts";
export { TieredStore } from "./tiered-store.ts";
