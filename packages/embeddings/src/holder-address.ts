import { isLoopback, parseAddress, type Secret } from "@florence/service";
import { Seal } from "./seal.ts";

/** How an encoder says that it holds an embedding, and how others find out whether an encoder of theirs did say so. */
export interface HolderAddresses {
  /** What stands for `address` (host:port) as the holder of a key, in answers and leases. */
  state(key: string, address: string): string;
  /** The address that a holder's statement about a key names; undefined where it is not to be connected to. */
  read(key: string, holder: string): string | undefined;
}

/**
 * How a cluster's holders are stated: with a secret their addresses are sealed by it. With `tls` alone they are not, but whoever is
 * connected to must show a certificate of the cluster. With neither nothing is proven, and only this machine is asked.
 */
export function holderAddresses(secret: Secret | undefined, { tls }: { tls: boolean }): HolderAddresses {
  if (secret) return sealed(new Seal(secret));
  return { state: (_, address) => address, read: (_, holder) => (tls || isLocal(holder) ? holder : undefined) };
}

/** The address and its seal, so that nobody else can send a process of the cluster to an address of their choice. */
function sealed(seal: Seal): HolderAddresses {
  return {
    state: (key, address) => `${address}#${seal.of("holder", key, address).toString("base64url")}`,
    read: (key, holder) => {
      const [address = "", mac = ""] = holder.split("#");
      return seal.verifies(Buffer.from(mac, "base64url"), "holder", key, address) ? address : undefined;
    },
  };
}

function isLocal(address: string): boolean {
  return isLoopback(parseAddress(address)?.host ?? "");
}
