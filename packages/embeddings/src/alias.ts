import { LRUCache } from "lru-cache";
import { tenantSalt } from "./key.ts";

/** Something that was done to an image and could surprise: a stable code, and a sentence for users. */
export interface AliasWarning {
  readonly code: string;
  readonly message: string;
}

/** What an image file decodes to: the key of its embedding, its size as answers refer to it, in pixels, and what to say of it each time. */
export interface Alias {
  readonly key: string;
  readonly width: number;
  readonly height: number;
  readonly warnings: readonly AliasWarning[];
}

/** Everything that decides what a file decodes to. */
export interface AliasParts {
  /** sha-256 of the file's bytes, hex. */
  fileSha256: string;
  /** Whether the EXIF orientation is left unapplied. */
  ignoreOrientation: boolean;
  /** What transparent pixels are seen on, each channel from 0 to 255; absent where their stored colours are read. */
  background?: readonly [red: number, green: number, blue: number] | undefined;
  tenant?: string | undefined;
}

/** The name under which an AliasMap knows a file. */
export function aliasName({ fileSha256, ignoreOrientation, background, tenant }: AliasParts): string {
  const parts = [fileSha256, ignoreOrientation ? "stored" : "upright"];
  if (background) parts.push(`on-${Buffer.from(background).toString("hex")}`);
  if (tenant) parts.push(tenantSalt(tenant));
  return parts.join(".");
}

/** Remembers what files decode to, so that a file seen before is neither decoded nor hashed again. */
export class AliasMap {
  readonly #aliases: LRUCache<string, Alias>;

  /** Holds `entriesMax` aliases, about 500 bytes each, and with every warning there is 2 KB; the least recently used go first. */
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
