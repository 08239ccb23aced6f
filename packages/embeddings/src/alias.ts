import { LRUCache } from "lru-cache";
import { tenantSalt } from "./key.ts";

/** What an image file decodes to: the key of its embedding, and its size as answers refer to it, in pixels. */
export interface Alias {
  readonly key: string;
  readonly width: number;
  readonly height: number;
}

/** Everything that decides what a file decodes to. */
export interface AliasParts {
  /** sha-256 of the file's bytes, hex. */
  fileSha256: string;
  /** Whether the EXIF orientation is left unapplied. */
  ignoreOrientation: boolean;
  tenant?: string | undefined;
}

/** The name under which an AliasMap knows a file. */
export function aliasName({ fileSha256, ignoreOrientation, tenant }: AliasParts): string {
  return `${fileSha256}.${ignoreOrientation ? "stored" : "upright"}${tenant ? `.${tenantSalt(tenant)}` : ""}`;
}

/** Remembers what files decode to, so that a file seen before is neither decoded nor hashed again. */
export class AliasMap {
  readonly #aliases: LRUCache<string, Alias>;

  /** Holds `entriesMax` aliases, about 500 bytes each; the least recently used go first. */
  constructor({ entriesMax }: { entriesMax: number }) {
    this.#aliases = new LRUCache({ max: entriesMax });
  }

  get(name: string): Alias | undefined {
    return this.#aliases.get(name);
  }

  set(name: string, alias: Alias): void {
    this.#aliases.set(name, alias);
  }

  /** How many aliases are held. */
  get size(): number {
    return this.#aliases.size;
  }
}
