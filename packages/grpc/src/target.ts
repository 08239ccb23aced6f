import { addressFamily, formatAddress, parseAddresses } from "@florence/service";

/**
 * The grpc-js target for addresses of the form `host:port` (`[host]:port` for IPv6). One host name is resolved by DNS,
 * all of its addresses are used; several addresses must be IP addresses of one family. Throws an Error otherwise.
 */
export function grpcTarget(addresses: readonly string[]): string {
  const parsed = parseAddresses(addresses.join(","));
  const texts = parsed.map(({ host, port }) => formatAddress(host, port));
  const families = new Set(parsed.map(({ host }) => addressFamily(host)));
  const [family] = families;
  if (family === 0 && parsed.length === 1) return `dns:///${texts[0]}`;
  if (families.size > 1 || family === 0) {
    throw new Error(`Several addresses must all be IPv4 or all be IPv6: ${texts.join(", ")}.`);
  }
  return `ipv${family}:${texts.join(",")}`;
}
