import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../images/roles.ts";

/** What a Dockerfile says of how its image is run. */
export interface ImageSettings {
  readonly env: Readonly<Record<string, string>>;
  readonly user: number;
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
}

/** Reads the last stage of an image's Dockerfile. */
export function readDockerfile(image: string): ImageSettings {
  const text = readFileSync(join(root, "deploy/images", image, "Dockerfile"), "utf8");
  const stage = text.split(/^FROM /m).at(-1) ?? "";
  const list = (instruction: RegExp) => JSON.parse(instruction.exec(stage)?.[1] ?? "[]") as string[];
  const env = [...(/^ENV (.*)$/m.exec(stage)?.[1] ?? "").matchAll(/(\w+)=(\S+)/g)];
  return {
    env: Object.fromEntries(env.map((match) => [match[1] as string, match[2] as string])),
    user: Number(/^USER (\d+)/m.exec(stage)?.[1]),
    command: list(/^(?:CMD|ENTRYPOINT) (\[.*\])$/m),
    healthcheck: list(/^HEALTHCHECK .*CMD (\[.*\])$/m),
  };
}
