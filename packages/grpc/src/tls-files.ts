import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { ConfigError } from "@florence/service";
import type { experimental } from "@grpc/grpc-js";

type IdentityListener = experimental.IdentityCertificateUpdateListener;
type CaListener = experimental.CaCertificateUpdateListener;

/** Paths of PEM files. */
export interface TlsPaths {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

interface Files {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  readonly caCertificate: Buffer;
}

// Certificates are renewed hours before they end; reading three small files costs nothing.
const rereadMs = 10_000;

/**
 * A process's certificate, key and authorities, read again while somebody uses them, so that they can be renewed without a restart: new
 * connections get the new ones. Files that cannot be used, such as ones half written, leave what was there.
 */
export class TlsFiles implements experimental.CertificateProvider {
  readonly #paths: TlsPaths;
  readonly #rereadMs: number;
  readonly #identityListeners = new Set<IdentityListener>();
  readonly #caListeners = new Set<CaListener>();
  #files: Files;
  #timer: NodeJS.Timeout | undefined;

  /** Throws a ConfigError where the files cannot be used. */
  constructor(paths: TlsPaths, { rereadMs: ms = rereadMs }: { rereadMs?: number } = {}) {
    this.#paths = paths;
    this.#rereadMs = ms;
    try {
      this.#files = read(paths);
    } catch (error) {
      throw new ConfigError([`FLORENCE_TLS_CERT, _KEY and _CA cannot be used: ${(error as Error).message}`]);
    }
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    this.#watch();
    process.nextTick(listener, this.#files); // grpc-js is ready for it after this call.
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
    this.#watch();
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    this.#watch();
    process.nextTick(listener, this.#files); // grpc-js is ready for it after this call.
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
    this.#watch();
  }

  #watch(): void {
    clearInterval(this.#timer);
    if (this.#identityListeners.size + this.#caListeners.size === 0) return;
    this.#timer = setInterval(() => this.#reread(), this.#rereadMs);
    this.#timer.unref();
  }

  #reread(): void {
    try {
      const files = read(this.#paths);
      const names = ["certificate", "privateKey", "caCertificate"] as const;
      if (names.every((name) => files[name].equals(this.#files[name]))) return;
      this.#files = files;
    } catch {
      return; // Tried again soon.
    }
    for (const listener of this.#identityListeners) listener(this.#files);
    for (const listener of this.#caListeners) listener(this.#files);
  }
}

/** Throws where a file is missing, is no PEM, or certificate and key do not belong together. */
function read({ certFile, keyFile, caFile }: TlsPaths): Files {
  const [certificate, privateKey, caCertificate] = [certFile, keyFile, caFile].map((path) => readFileSync(path)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  createSecureContext({ cert: certificate, key: privateKey, ca: caCertificate });
  return { certificate, privateKey, caCertificate };
}
