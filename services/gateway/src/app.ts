import { Fault } from "@florence/service";
import { ImageIds } from "./annotate/image-id.ts";
import type { UrlFetch } from "./annotate/image-source.ts";
import { annotateRoutes } from "./annotate/routes.ts";
import type { GatewayEvents } from "./events.ts";
import { createEntrance } from "./http/admitted.ts";
import { probeRoutes } from "./http/probes.ts";
import { createRouter, type Router } from "./http/router.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import type { LoadedModels } from "./peers/agreement.ts";
import type { DecoderClient, EncoderClient } from "./peers/clients.ts";
import { createRetries } from "./peers/retry.ts";

/** What a gateway is made of. Nothing here is tied to Node, which a test checks: another runtime brings its own clients and fetcher. */
export interface GatewayParts {
  readonly encoder: EncoderClient;
  readonly decoder: DecoderClient;
  readonly models: LoadedModels;
  readonly events: GatewayEvents;
  readonly limits?: Partial<Limits>;
  /** At least 16 bytes, the same in every gateway that shall accept an image id. Default: random, so ids end with the process. */
  readonly idSecret?: Uint8Array<ArrayBuffer> | undefined;
  /** Fetches images by URL; without it every URL is refused. */
  readonly fetchUrl?: UrlFetch | undefined;
  /** Once it has fired, the gateway says that it is not ready. */
  readonly stopping?: AbortSignal | undefined;
  /** The names by which this server may be called; then pages of other sites are refused, too. Absent: any, and any page. */
  readonly hosts?: readonly string[] | undefined;
}

/** The HTTP application: all dialects' routes. */
export function createGateway({ idSecret, stopping, hosts, fetchUrl = refuseUrl, ...parts }: GatewayParts): Router {
  const limits = { ...defaultLimits, ...parts.limits };
  const entrance = createEntrance(limits, parts.events);
  const ids = new ImageIds(idSecret ?? crypto.getRandomValues(new Uint8Array(32)));
  const ready = async () => {
    if (stopping?.aborted) throw new Fault("unavailable", "The gateway is stopping.");
    await parts.models.get();
  };
  const routes = [
    ...annotateRoutes({ ...parts, limits, ids, fetchUrl, retries: createRetries() }, entrance),
    ...probeRoutes(ready),
  ];
  return createRouter(routes, parts.events, hosts);
}

const refuseUrl: UrlFetch = async () => {
  throw new Fault("url_forbidden", "image.url: this server fetches no images. Send the image itself.");
};
