import type { LookupAddress } from "node:dns";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { Fault, orAborted } from "@florence/service";
import type { UrlFetch } from "../annotate/image-source.ts";
import { type HeldBytesAccount, tooLarge } from "../http/body.ts";
import type { Resolve } from "../peers/names.ts";
import { resolveHost } from "./resolve.ts";

export interface UrlFetchOptions {
  readonly redirectsMax: number;
  readonly timeoutMs: number;
  /** Default: the system's. */
  readonly resolve?: Resolve;
  /** Says whether an image may be fetched from an address. */
  readonly addressAllowed?: (address: string) => boolean;
  /** Certificates to trust beside the system's. */
  readonly ca?: string;
}

/**
 * Makes a fetcher that reaches public https servers and nothing else. Every address of a host must be public, and the
 * connection goes to an address that was checked: a name that resolves differently a moment later changes nothing.
 * Redirects are followed under the same rules.
 */
export function createUrlFetch(options: UrlFetchOptions): UrlFetch {
  const { redirectsMax, timeoutMs, resolve = resolveHost, addressAllowed = isPublicAddress, ca } = options;

  return async function fetchImage(url, bytesMax, account, outerSignal) {
    const signal = AbortSignal.any([outerSignal, AbortSignal.timeout(timeoutMs)]);
    let target = parseUrl(url);
    for (let redirects = 0; ; redirects++) {
      const address = await checkedAddress(target, resolve, addressAllowed, signal);
      const response = await get(target, address, signal, ca).catch((error: unknown) => {
        throw unreachable(target, error);
      });
      const status = response.statusCode ?? 0;
      if (status >= 300 && status < 400 && response.headers.location !== undefined) {
        response.destroy();
        if (redirects === redirectsMax)
          throw new Fault("url_unreachable", `image.url: more than ${redirectsMax} redirects.`);
        target = parseUrl(response.headers.location, target);
        continue;
      }
      if (status !== 200) {
        response.destroy();
        throw new Fault("url_unreachable", `image.url: ${target.host} answered with status ${status}.`);
      }
      return await readResponse(response, target, bytesMax, account);
    }
  };
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url?.protocol !== "https:") throw new Fault("url_forbidden", "image.url: only https addresses are fetched.");
  if (url.username !== "" || url.password !== "")
    throw new Fault("url_forbidden", "image.url: an address with credentials is not fetched.");
  return url;
}

async function checkedAddress(
  url: URL,
  resolve: Resolve,
  addressAllowed: (address: string) => boolean,
  signal: AbortSignal,
): Promise<LookupAddress> {
  const host = url.hostname.replace(/^\[|\]$/g, ""); // An IPv6 literal stands in brackets.
  const addresses =
    isIP(host) !== 0
      ? [host]
      : await orAborted(resolve(host), signal).catch((error: unknown) => {
          throw unreachable(url, error);
        });
  const [first] = addresses;
  if (first === undefined) throw new Fault("url_unreachable", `image.url: ${url.host} has no address.`);
  if (!addresses.every(addressAllowed)) {
    throw new Fault("url_forbidden", "image.url: only public addresses are fetched.");
  }
  return { address: first, family: isIP(first) };
}

function get(url: URL, address: LookupAddress, signal: AbortSignal, ca: string | undefined): Promise<IncomingMessage> {
  const pinned: LookupFunction = (_host, lookupOptions, callback) => {
    if (lookupOptions.all) callback(null, [address]);
    else callback(null, address.address, address.family);
  };
  const options: RequestOptions = {
    signal,
    lookup: pinned,
    agent: false, // A pooled connection would have been checked for another request.
    headers: { accept: "image/*", "accept-encoding": "identity", "user-agent": "florence-gateway" },
    ...(ca !== undefined && { ca }),
  };
  return new Promise((resolve, reject) => {
    httpsRequest(url, options, resolve).on("error", reject).end();
  });
}

async function readResponse(
  response: IncomingMessage,
  url: URL,
  bytesMax: number,
  account: HeldBytesAccount,
): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(response.headers["content-length"] ?? 0) > bytesMax) {
    response.destroy();
    throw tooLarge(bytesMax);
  }
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > bytesMax) throw tooLarge(bytesMax); // Leaving the loop destroys the response.
      account.take(chunk.length);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof Fault ? error : unreachable(url, error);
  }
  return new Uint8Array(Buffer.concat(chunks, length));
}

function unreachable(url: URL, cause: unknown): Fault {
  return new Fault("url_unreachable", `image.url: ${url.host} could not be reached.`, { cause });
}

const notPublic = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // carrier-grade NAT
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, where clouds keep their metadata
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // 6to4 relays
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 3], // multicast, reserved, broadcast
] as const) {
  notPublic.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  ["2001::", 23], // protocol assignments, Teredo among them
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4: carries any IPv4 address
  ["3fff::", 20], // documentation
] as const) {
  notPublic.addSubnet(network, prefix, "ipv6");
}
// Only this block is global unicast: loopback, mapped IPv4, NAT64, unique local and link-local lie outside it.
const globalUnicast = new BlockList();
globalUnicast.addSubnet("2000::", 3, "ipv6");

/** Whether an address belongs to the public internet. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !notPublic.check(address, "ipv4");
  if (family === 6) return globalUnicast.check(address, "ipv6") && !notPublic.check(address, "ipv6");
  return false;
}
