import { hash } from "node:crypto";

// More than one process can die of in that time, at a second each.
const filesMax = 1000;
// A file may have been unlucky on a machine that was busy: then it is tried again.
const rememberedMs = 600_000;

/** Remembers files that killed a process, so that one that is sent again and again kills no other. */
export class DeadlyFiles {
  /** Length and digest; the oldest first. */
  readonly #files = new Map<string, { bytes: number; untilMs: number; detail: string }>();

  /** What was said when the file killed a process. Files are only hashed when one of the same length did. */
  verdictOn(file: Uint8Array): string | undefined {
    const now = performance.now();
    for (const [digest, { untilMs }] of this.#files) if (untilMs < now) this.#files.delete(digest);
    for (const { bytes } of this.#files.values()) {
      if (bytes === file.length) return this.#files.get(hash("sha256", file))?.detail;
    }
    return undefined;
  }

  add(file: Uint8Array, detail: string): void {
    const digest = hash("sha256", file);
    this.#files.delete(digest);
    this.#files.set(digest, { bytes: file.length, untilMs: performance.now() + rememberedMs, detail });
    for (const oldest of this.#files.keys()) {
      if (this.#files.size <= filesMax) return;
      this.#files.delete(oldest);
    }
  }
}
