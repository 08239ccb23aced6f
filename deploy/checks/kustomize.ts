import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../images/roles.ts";

const folder = join(root, ".tools/kubernetes/bin");
// The newest that the Go of Debian's current release builds.
const module = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1";
const buildMsMax = 300_000; // Half a minute on two idle cores; downloads and busy machines take longer.

/** How to run kustomize. */
export interface Kustomize {
  /** Builds a folder into the text of its documents. Throws an Error with what kustomize says. */
  build(path: string): string;
}

/** Kustomize as it is found: built before, on the PATH, within kubectl, or built by Go now. `missing` says why there is none. */
export function findKustomize(): Kustomize | { readonly missing: string } {
  const built = join(folder, "kustomize");
  for (const [program, ...args] of [
    [built, "build"],
    ["kustomize", "build"],
    ["kubectl", "kustomize"],
  ] as const) {
    if (
      program === built
        ? existsSync(built)
        : runs(program, program === "kubectl" ? ["kustomize", "--help"] : ["version"])
    )
      return { build: (path) => run(program, [...args, path]) };
  }
  if (!runs("go", ["version"])) return { missing: "There is neither kustomize, nor kubectl, nor Go to build it with." };
  try {
    mkdirSync(folder, { recursive: true });
    // Where the program goes is said by a variable, and `env` sets it for this one alone.
    execFileSync("env", [`GOBIN=${folder}`, "go", "install", module], { timeout: buildMsMax, stdio: "pipe" });
  } catch (error) {
    return { missing: `Go could not build kustomize: ${(error as Error).message.split("\n")[0]}` };
  }
  return { build: (path) => run(built, ["build", path]) };
}

function runs(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function run(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: "pipe", maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    throw new Error(String((error as { stderr?: unknown }).stderr ?? error).trim());
  }
}
