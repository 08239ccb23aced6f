import { addressFamily, formatAddress, type HostAndPort, parseAddresses, within } from "@florence/service";
import type { GatewayEvents, ServiceName } from "../events.ts";

/** All addresses of a host name, at least one; rejects where the name has none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

// A name server that has not answered by then is taken for one that does not.
const timeoutMs = 5_000;

interface Entry extends HostAndPort {
  /** host:port of each, as last resolved. */
  addresses: readonly string[];
  failing: boolean;
}

export interface PeerNamesOptions {
  /** host:port, comma-separated. */
  readonly list: string;
  readonly service: ServiceName;
  readonly events: Pick<GatewayEvents, "nameUnresolved">;
  readonly resolve: Resolve;
}

/** A list of host:port, in which a host name stands for all of its addresses, as they were when last resolved. */
export class PeerNames {
  readonly #options: PeerNamesOptions;
  readonly #entries: readonly Entry[];
  readonly #named: readonly Entry[];

  /** Throws an Error where the list is not made of host:port. */
  constructor(options: PeerNamesOptions) {
    this.#options = options;
    this.#entries = parseAddresses(options.list).map(({ host, port }) => {
      const addresses = addressFamily(host) === 0 ? [] : [formatAddress(host, port)];
      return { host, port, addresses, failing: false };
    });
    this.#named = this.#entries.filter(({ host }) => addressFamily(host) === 0);
  }

  /** Whether anything can change: some entry is a name. */
  get changing(): boolean {
    return this.#named.length > 0;
  }

  /** Each once, in the same order in every process that knows the same ones. */
  get addresses(): readonly string[] {
    return [...new Set(this.#entries.flatMap(({ addresses }) => addresses))].sort();
  }

  /** Resolves all names. One that cannot be resolved keeps its last known addresses. It does not throw. */
  async resolve(): Promise<void> {
    await Promise.all(this.#named.map((entry) => this.#resolveEntry(entry)));
  }

  async #resolveEntry(entry: Entry): Promise<void> {
    const { host, port } = entry;
    try {
      const hosts = await within(this.#options.resolve(host), timeoutMs);
      if (hosts.length === 0) throw new Error("The name has no addresses.");
      entry.addresses = hosts.map((address) => formatAddress(address, port));
      entry.failing = false;
    } catch (error) {
      const { service, events } = this.#options;
      // Said once: while it lasts it is tried every few seconds.
      if (!entry.failing) events.nameUnresolved({ service, host, error });
      entry.failing = true;
    }
  }
}
