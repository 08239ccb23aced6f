// Runs the contents of the images where there is no container engine:
//   node lab/images/run.ts
// Each root is filled as the Dockerfiles fill theirs. A namespace of its own then has a network of nothing but loopback; in it each role
// starts in its root, read-only, as process 1 and as the user, with the environment and the command, that its Dockerfile names. The
// model is installed into a volume by the model image's own program. Linux with unprivileged user namespaces, or root.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prepareModel } from "@florence/model";
import { bytesOf } from "../../deploy/images/assemble.ts";
import { roleNames, root } from "../../deploy/images/roles.ts";
import { fillRoot } from "../../deploy/images/root.ts";

const work = mkdtempSync(join(tmpdir(), "florence-roots-"));
try {
  for (const role of roleNames) {
    const folder = join(work, role);
    await fillRoot(role, folder);
    const app = bytesOf(join(folder, "app")) / 1e6;
    const all = bytesOf(folder) / 1e6;
    console.log(`${role.padEnd(8)} ${app.toFixed(1).padStart(6)} MB, ${all.toFixed(1)} MB with Node and libraries`);
    // What a container's runtime puts there.
    for (const device of ["null", "urandom"]) writeFileSync(join(folder, "dev", device), "");
  }
  const built = await prepareModel(join(root, "models/florence-2-drawn"), { cacheFolder: join(work, "cache") });
  cpSync(built.folder, join(work, "model/model"), { recursive: true });
  mkdirSync(join(work, "volume"));
  execFileSync("chmod", ["-R", "a+rX", work]);
  const inside = fileURLToPath(new URL("./inside.ts", import.meta.url));
  const flags = ["--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const child = spawn("unshare", [...flags, process.execPath, inside, work], { stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number | null];
  process.exitCode = code ?? 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
