// Copies a built model into a volume:
//   node install.js FROM TO [DIGEST]
// DIGEST is the sha-256 of FROM/florence.json, which holds those of all other files: whoever knows it knows what will be served. A volume
// that has that model already is left as it is. The manifest is written last, so that a copy that was interrupted is no model.
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const manifestName = "florence.json";

try {
  await install(...(process.argv.slice(2) as [string, string, string?]));
} catch (error) {
  process.stderr.write(`florence model: ${(error as Error).message}\n`);
  process.exitCode = 1;
}

async function install(from: string, to: string, expected = ""): Promise<void> {
  const manifest = readFileSync(join(from, manifestName));
  const digest = createHash("sha256").update(manifest).digest("hex");
  if (expected !== "" && digest !== expected)
    throw new Error(`${manifestName} has the digest ${digest}, not ${expected}.`);
  const { files } = JSON.parse(manifest.toString()) as { files: Record<string, { sha256: string }> };
  const installed = join(to, manifestName);
  if (existsSync(installed) && readFileSync(installed).equals(manifest)) {
    process.stdout.write(`florence model: ${digest} is there already\n`);
    return;
  }
  rmSync(installed, { force: true });
  mkdirSync(to, { recursive: true });
  for (const [name, { sha256 }] of Object.entries(files)) {
    await copyFile(join(from, name), join(to, name));
    // What was written is read again: the volume is not trusted either.
    const hash = createHash("sha256");
    await pipeline(createReadStream(join(to, name)), hash);
    if (hash.digest("hex") !== sha256) throw new Error(`${name} is not what ${manifestName} says.`);
  }
  writeFileSync(`${installed}.new`, manifest);
  renameSync(`${installed}.new`, installed);
  process.stdout.write(`florence model: installed ${digest}\n`);
}
