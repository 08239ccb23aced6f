import { fileURLToPath } from "node:url";

/** Where the repository lies, with a slash at its end. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** What an image holds. */
export interface Role {
  /** Programs by the name of their file in the image, from the repository's root. */
  readonly programs: Readonly<Record<string, string>>;
  /** Packages with native parts: they are copied as they are, not bundled. */
  readonly native: readonly string[];
}

const healthcheck = "deploy/images/healthcheck.ts";
// Both are dependencies of this package of ours.
export const nativeFrom = "packages/model";
const native = ["onnxruntime-node", "sharp"];

/** Every image that has programs of ours. */
export const roles = {
  // No model runs here, so there is nothing native.
  gateway: { programs: { main: "services/gateway/src/main.ts", healthcheck }, native: [] },
  encoder: { programs: { main: "services/encoder/src/main.ts", healthcheck }, native },
  decoder: { programs: { main: "services/decoder/src/main.ts", healthcheck }, native },
  model: { programs: { main: "deploy/images/model/install.ts" }, native: [] },
} as const satisfies Record<string, Role>;

export type RoleName = keyof typeof roles;

export const roleNames = Object.keys(roles) as RoleName[];
