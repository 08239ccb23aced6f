import { Resolver } from "node:dns/promises";
import { Admission } from "@florence/service";

/** All addresses of a host name; rejects where there are none, or when the signal fires. */
export type ResolvePublic = (host: string, signal: AbortSignal) => Promise<readonly string[]>;

export interface ResolvePublicOptions {
  /** Default: the system's. */
  readonly servers?: readonly string[];
  /** Look-ups under way at one time. */
  readonly running?: number;
}

// More than URLs are fetched at one time on a quiet day; a look-up costs two sockets.
const runningDefault = 32;
// Those who wait are bounded by the places for requests, and each by its own time.
const waitingMax = 1024;
// A name server that has not answered twice in this time is given up.
const timeoutMs = 2_000;

/**
 * Looks names up that callers wrote: by DNS alone, so that neither the hosts file nor a search domain turns a public name into one of the
 * inside, and apart from the look-ups of the services' names, whose threads it does not take. A look-up ends with its signal.
 */
export function createResolvePublic({ servers, running = runningDefault }: ResolvePublicOptions = {}): ResolvePublic {
  const lookUps = new Admission({ running, waiting: waitingMax });
  return async (host, signal) => {
    using _place = await lookUps.acquire(signal);
    const resolver = new Resolver({ timeout: timeoutMs, tries: 2 });
    if (servers !== undefined) resolver.setServers(servers);
    const cancel = () => resolver.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      const both = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
      signal.throwIfAborted();
      const addresses = both.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
      const [first] = both;
      if (addresses.length === 0 && first.status === "rejected") throw first.reason;
      return addresses;
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  };
}
