import { ConfigError } from "@florence/service";
import { type ChannelCredentials, credentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import { CallProofs } from "./call-proof.ts";
import type { ClusterConfig } from "./settings.ts";
import { TlsFiles } from "./tls-files.ts";

/** What a process shows to the others of its cluster, and asks of them. */
export interface Credentials {
  readonly proofs?: CallProofs;
  readonly tls?: TlsFiles;
  /** The name in every service's certificate, where it is not the host that is connected to. */
  readonly serverName?: string | undefined;
  /** Where health checks are answered without TLS. */
  readonly healthPort?: number | undefined;
}

/** For a process that meets no other. */
export const noCredentials: Credentials = Object.freeze({});

/** The credentials that the settings name. One for a process: it reads the files for all of its servers and clients. Throws a ConfigError. */
export function openCredentials(config: ClusterConfig): Credentials {
  const { secret, certFile, keyFile, caFile, serverName, healthPort } = config;
  const named = [certFile, keyFile, caFile].filter((file) => file !== undefined).length;
  if (named !== 0 && named !== 3) {
    throw new ConfigError([
      "FLORENCE_TLS_CERT, FLORENCE_TLS_KEY and FLORENCE_TLS_CA go together: set all three or none.",
    ]);
  }
  return {
    ...(secret && { proofs: new CallProofs(secret) }),
    ...(certFile && keyFile && caFile && { tls: new TlsFiles({ certFile, keyFile, caFile }), serverName, healthPort }),
  };
}

export function channelCredentials({ tls }: Credentials): ChannelCredentials {
  return tls ? experimental.createCertificateProviderChannelCredentials(tls, tls) : credentials.createInsecure();
}

export function serverCredentials({ tls }: Credentials): ServerCredentials {
  return tls
    ? experimental.createCertificateProviderServerCredentials(tls, tls, true)
    : ServerCredentials.createInsecure();
}
