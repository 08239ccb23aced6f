/** One place to reach a process at. */
export interface HostAndPort {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, an IPv6 host in brackets. Returns undefined for every other form, and for a port above 65535. */
export function parseAddress(text: string): HostAndPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s,]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  return match && port <= 65_535 ? { host: (match[1] ?? match[2]) as string, port } : undefined;
}

/** Reads addresses with commas between, spaces around them allowed. Throws an Error that names the first that is none, or that there is none. */
export function parseAddresses(list: string): HostAndPort[] {
  const texts = list
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
  if (texts.length === 0) throw new Error("A service needs at least one host:port.");
  return texts.map((text) => {
    const address = parseAddress(text);
    if (address === undefined) throw new Error(`${JSON.stringify(text)} is not of the form host:port.`);
    return address;
  });
}

/** Joins a host and a port; an IPv6 host gets its brackets. */
export function formatAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** 4 or 6 for an IP address, 0 for a name that must be resolved. The host is one that parseAddress gave. */
export function addressFamily(host: string): 0 | 4 | 6 {
  if (host.includes(":")) return 6;
  const parts = host.split(".");
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255) ? 4 : 0;
}

/** Tells whether a host, as parseAddress gives it, is this machine and nobody else reaches it. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (addressFamily(host) === 4 && host.startsWith("127."));
}
