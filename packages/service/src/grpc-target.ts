import { isIP } from "node:net";

/**
 * The grpc-js target for addresses of the form `host:port` (`[host]:port` for IPv6). One host name is resolved by DNS,
 * all of its addresses are used; several addresses must be IP addresses of one family. Throws an Error otherwise.
 */
export function grpcTarget(addresses: readonly string[]): string {
  const parsed = addresses.map((address) => {
    const match = /^(?:\[([^\]]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(address);
    if (match === null) throw new Error(`${JSON.stringify(address)} is not of the form host:port.`);
    return { address, family: isIP(match[1] ?? match[2] ?? "") };
  });
  const [first, ...others] = parsed;
  if (first === undefined) throw new Error("A client needs at least one address.");
  if (first.family === 0 && others.length === 0) return `dns:///${first.address}`;
  if (first.family === 0 || others.some(({ family }) => family !== first.family)) {
    throw new Error(`Several addresses must all be IPv4 or all be IPv6: ${addresses.join(", ")}.`);
  }
  return `ipv${first.family}:${addresses.join(",")}`;
}

/** Joins a host and a port into an address; an IPv6 host gets its brackets. */
export function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
