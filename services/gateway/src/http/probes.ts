import { json } from "./json.ts";
import type { Route } from "./route.ts";

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
      path: "/readyz",
      description: "Whether calls can be answered now.",
      handle: async () => {
        await ready();
        return json({ status: "ready" });
      },
    },
  ];
}

export const probePaths: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);
