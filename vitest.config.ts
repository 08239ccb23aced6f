import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{packages,tools,services,apps}/*/test/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "lab/**"],
    // Each worker loads models of its own and runs native threads; two fill a small machine.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000, // Tests run real models; on a busy machine one may take seconds.
    hookTimeout: 60_000, // A whole server starts in a hook.
  },
});
