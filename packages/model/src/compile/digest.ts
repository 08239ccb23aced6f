import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/** sha-256 over the files' bytes in the order given, hex. */
export async function digestFiles(files: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const file of files)
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest("hex");
}
