import { BlockList, isIP } from "node:net";

/** Who a request comes from, out of its connection's address and its X-Forwarded-For header. */
export type CallerOf = (address: string | undefined, forwardedFor: string | undefined) => string;

/**
 * Callers by address. `trustedProxies`: addresses or networks, comma-separated, whose word counts; what stands before theirs in the header is
 * the sender's invention and is not looked at. An IPv6 caller is its /64, which is what one customer gets. Throws an Error where the list
 * is none.
 */
export function createCallerOf(trustedProxies: string | undefined): CallerOf {
  const trusted = networks(trustedProxies);
  return (address = "", forwardedFor = "") => {
    let caller = plain(address);
    const hops = forwardedFor.split(",");
    while (hops.length > 0 && trusted(caller)) {
      const hop = plain((hops.pop() ?? "").trim());
      if (isIP(hop) === 0) break;
      caller = hop;
    }
    return isIP(caller) === 6 ? network64(caller) : caller;
  };
}

function networks(list: string | undefined): (address: string) => boolean {
  const blocks = new BlockList();
  for (const text of (list ?? "").split(",").map((entry) => entry.trim())) {
    if (text === "") continue;
    const [address = "", prefix, ...rest] = text.split("/");
    const family = isIP(address);
    const bits = family === 6 ? 128 : 32;
    const length = prefix === undefined ? bits : Number(prefix);
    if (family === 0 || rest.length > 0 || prefix === "" || !Number.isInteger(length) || length < 0 || length > bits) {
      throw new Error(`FLORENCE_TRUSTED_PROXIES: ${JSON.stringify(text)} is neither an address nor a network.`);
    }
    blocks.addSubnet(address, length, family === 6 ? "ipv6" : "ipv4");
  }
  return (address) => isIP(address) !== 0 && blocks.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Without what a socket that takes both families puts before an IPv4 address, and without a zone, port or brackets. */
function plain(address: string): string {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(address)?.[1] ?? /^([\d.]+):\d+$/.exec(address)?.[1] ?? address;
  const [withoutZone = ""] = bare.split("%");
  return /^::ffff:([\d.]+)$/i.exec(withoutZone)?.[1] ?? withoutZone;
}

function network64(address: string): string {
  // The URL parser writes every IPv6 address in one way.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [before = "", after] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":"));
  const head = groups(before);
  const tail = groups(after ?? "");
  const zeros = after === undefined ? 0 : 8 - head.length - tail.length;
  return `${[...head, ...Array<string>(zeros).fill("0"), ...tail].slice(0, 4).join(":")}::/64`;
}
