import { existsSync } from "node:fs";
import type { PullOptions, PullPlan } from "@florence/hub";
import { Progress } from "@florence/node";

/**
 * The folder of a checkpoint: one that exists is taken as it is; owner/name[@revision] or a short name means the copy in Hugging Face's
 * cache, fetched first if need be, with progress on stderr. Any other text comes back unchanged. Throws a HubError.
 */
export async function checkpointFolder(model: string): Promise<string> {
  if (existsSync(model)) return model;
  const { findModel, HubError, parseModelName } = await import("@florence/hub");
  const name = parseModelName(model);
  if (!name) return model;
  try {
    return (await findModel(name, await pullOptions())).folder;
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    throw new HubError(error.code, `${error.message} (There is no folder ${model} either.)`, { cause: error });
  }
}

/** How to pull a checkpoint: what of it is needed. Says on stderr what is fetched, how much that is, and how far it has come. */
export async function pullOptions(): Promise<PullOptions> {
  const { readHubSettings } = await import("@florence/hub");
  const { neededFiles } = await import("@florence/model/checkpoint");
  let progress: Progress | undefined;
  return {
    settings: readHubSettings(),
    choose: neededFiles,
    onPlan: (plan: PullPlan) => {
      const size = `${(plan.bytes / 1e6).toFixed(1)} MB in ${plan.files} files`;
      const missing = plan.missingBytes > 0 ? `${(plan.missingBytes / 1e6).toFixed(1)} MB to fetch` : "all here";
      process.stderr.write(`${plan.name} at ${plan.commit.slice(0, 12)}: ${size}, ${missing}\n`);
      progress = new Progress(`Fetching ${plan.name}`);
    },
    onProgress: (done, total) => progress?.update(done, total),
  };
}
