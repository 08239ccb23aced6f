import type { LookupAddress } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { Fault, orAborted } from "@florence/service";
import { Agent, type Dispatcher, request } from "undici";
import type { UrlFetch } from "../annotate/image-source.ts";
import { Blocks } from "../http/blocks.ts";
import { imageTooLarge } from "../http/body.ts";
import type { HeldBytesAccount } from "../http/held-bytes.ts";
import { createResolvePublic, type ResolvePublic } from "./resolve-public.ts";

export interface UrlFetchOptions {
  readonly redirectsMax: number;
  readonly timeoutMs: number;
  /** Default: DNS. */
  readonly resolve?: ResolvePublic;
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
  const { redirectsMax, timeoutMs, resolve = createResolvePublic(), addressAllowed = isPublicAddress, ca } = options;

  return async function fetchImage(url, bytesMax, account, outerSignal) {
    const signal = AbortSignal.any([outerSignal, AbortSignal.timeout(timeoutMs)]);
    let target = parseUrl(url);
    for (let redirects = 0; ; redirects++) {
      const address = await checkedAddress(target, resolve, addressAllowed, signal);
      await using agent = pinnedAgent(address, ca);
      // undici promises to settle; a URL's server is the last one to try that with.
      const response = await orAborted(request(target, { dispatcher: agent, signal, headers }), signal).catch(
        (error) => {
          throw unreachable(target, error);
        },
      );
      response.body.on("error", () => {}); // Thrown where the body is read; where it is not, nobody needs to know.
      const { statusCode } = response;
      const { location } = response.headers;
      if (statusCode >= 300 && statusCode < 400 && typeof location === "string") {
        if (redirects === redirectsMax)
          throw new Fault("url_unreachable", `image.url: more than ${redirectsMax} redirects.`);
        target = parseUrl(location, target);
        continue;
      }
      if (statusCode !== 200) {
        throw new Fault("url_unreachable", `image.url: ${target.host} answered with status ${statusCode}.`);
      }
      return await orAborted(readResponse(response, target, bytesMax, account), signal).catch((error) => {
        throw error instanceof Fault ? error : unreachable(target, error);
      });
    }
  };
}

const headers = { accept: "image/*", "accept-encoding": "identity", "user-agent": "florence-gateway" };

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url?.protocol !== "https:") throw new Fault("url_forbidden", "image.url: only https addresses are fetched.");
  if (url.username !== "" || url.password !== "")
    throw new Fault("url_forbidden", "image.url: an address with credentials is not fetched.");
  return url;
}

async function checkedAddress(
  url: URL,
  resolve: ResolvePublic,
  addressAllowed: (address: string) => boolean,
  signal: AbortSignal,
): Promise<LookupAddress> {
  const host = url.hostname.replace(/^\[|\]$/g, ""); // An IPv6 literal stands in brackets.
  const addresses =
    isIP(host) !== 0
      ? [host]
      : await orAborted(resolve(host, signal), signal).catch((error: unknown) => {
          throw unreachable(url, error);
        });
  const [first] = addresses;
  if (first === undefined) throw new Fault("url_unreachable", `image.url: ${url.host} has no address.`);
  if (!addresses.every(addressAllowed)) {
    throw new Fault("url_forbidden", "image.url: only public addresses are fetched.");
  }
  return { address: first, family: isIP(first) };
}

/** Connections for one request, to this address alone: one of a pool would have been checked for another. Disposing it ends them. */
function pinnedAgent(address: LookupAddress, ca: string | undefined): Agent & AsyncDisposable {
  const lookup: LookupFunction = (_host, lookupOptions, callback) => {
    if (lookupOptions.all) callback(null, [address]);
    else callback(null, address.address, address.family);
  };
  const agent = new Agent({ allowH2: false, connect: { lookup, ...(ca !== undefined && { ca }) } });
  return Object.assign(agent, { [Symbol.asyncDispose]: async () => void agent.destroy().catch(() => {}) });
}

async function readResponse(
  { headers: { "content-length": announced }, body }: Dispatcher.ResponseData,
  url: URL,
  bytesMax: number,
  account: HeldBytesAccount,
): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(announced ?? 0) > bytesMax) throw imageTooLarge(bytesMax);
  const blocks = new Blocks();
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (blocks.length + chunk.length > bytesMax) throw imageTooLarge(bytesMax); // Leaving the loop destroys the response.
      account.take(chunk.length);
      blocks.append(chunk);
    }
  } catch (error) {
    throw error instanceof Fault ? error : unreachable(url, error);
  }
  return blocks.concatenated();
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
