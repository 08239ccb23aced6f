import { within } from "@florence/service";
import { json } from "./json.ts";
import type { Route } from "./route.ts";

// Orchestrators give a probe a few seconds; a round of asking all services takes less.
const readyMs = 5_000;

/** What an orchestrator asks. `ready` throws a Fault while calls cannot be answered. */
export function probeRoutes(ready: () => Promise<unknown>): readonly Route[] {
  return [
    {
      method: "GET",
      path: "/healthz",
      description: "Whether this process lives.",
      handle: () => json({ status: "ok" }),
    },
    {
      method: "GET",
      path: readyPath,
      description: "Whether calls can be answered now.",
      handle: async () => {
        await within(ready(), readyMs);
        return json({ status: "ready" });
      },
    },
  ];
}

export const readyPath = "/readyz";
export const probePaths: ReadonlySet<string> = new Set(["/healthz", readyPath]);
