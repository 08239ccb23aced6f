import type { BuiltModel } from "@florence/model";
import type { ModelSettings } from "@florence/model/settings";
import { Progress } from "@florence/node";
import { checkpointFolder } from "./hub.ts";

/** The model that the settings name, with progress and warnings on stderr. Loaded when it is called: it brings native modules. */
export async function loadModel(settings: ModelSettings): Promise<BuiltModel> {
  const { loadModel: load } = await import("@florence/model");
  const model = settings.model && (await checkpointFolder(settings.model));
  return load(
    { ...settings, model },
    {
      progress: (name) => new Progress(`Building ${name}`).update,
      warn: (message) => process.stderr.write(`warning: ${message}\n`),
    },
  );
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
