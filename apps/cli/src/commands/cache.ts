import { cacheFolder, clearCache, listCache } from "@florence/model";
import type { Command } from "commander";
import { readSettings } from "../config.ts";

export function configureCache(cache: Command): void {
  cache
    .command("ls")
    .description("List the builds, least recently used first")
    .action(async () => {
      const folder = cacheFolder(readSettings().model);
      const entries = await listCache(folder);
      for (const { folder: build, bytes, usedAt } of entries) {
        process.stdout.write(
          `${(bytes / 1e6).toFixed(1).padStart(10)} MB  ${usedAt.toISOString().slice(0, 16).replace("T", " ")}  ${build}\n`,
        );
      }
      process.stderr.write(`${entries.length} builds in ${folder}\n`);
    });
  cache
    .command("clear")
    .description("Remove every build")
    .action(async () => {
      const folder = cacheFolder(readSettings().model);
      process.stderr.write(`${((await clearCache(folder)) / 1e6).toFixed(1)} MB removed from ${folder}\n`);
    });
}
