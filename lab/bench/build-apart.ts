import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Precision, prepareModel } from "@florence/model";

/** Builds a checkpoint in a process of its own: how long it takes and the most memory that it holds. */
export async function buildApart(
  checkpoint: string,
  precision: Precision,
  cacheFolder: string,
): Promise<{ buildSeconds: string; buildPeakMB: number }> {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), checkpoint, precision, cacheFolder],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`the build failed: ${stderr}`);
  return JSON.parse(stdout);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [checkpoint, precision, cacheFolder] = process.argv.slice(2) as [string, Precision, string];
  const began = performance.now();
  await prepareModel(checkpoint, { precision, cacheFolder });
  const buildSeconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(JSON.stringify({ buildSeconds, buildPeakMB: Math.round(process.resourceUsage().maxRSS / 1024) }));
}
