// Says what is wrong with manifests before a cluster does:
//   node deploy/check.ts [--before-apply] deploy/k8s/overlays/production
// Ends with 1 where something is. --before-apply also names the placeholders that are left.
import { parseArgs } from "node:util";
import { beforeApply, checks, productionChecks } from "./checks/all.ts";
import { parseDocuments } from "./checks/documents.ts";
import { findKustomize } from "./checks/kustomize.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "before-apply": { type: "boolean", default: false } },
});
const kustomize = findKustomize();
if ("missing" in kustomize) {
  process.stderr.write(`${kustomize.missing}\n`);
  process.exitCode = 2;
} else {
  for (const folder of positionals) {
    const docs = parseDocuments(kustomize.build(folder));
    const all = { ...checks, ...(/production/.test(folder) && productionChecks) };
    const complaints = Object.values(all).flatMap((check) => check(docs));
    if (values["before-apply"]) complaints.push(...beforeApply(docs));
    for (const complaint of complaints) process.stdout.write(`${folder}: ${complaint}\n`);
    if (complaints.length > 0) process.exitCode = 1;
    else process.stdout.write(`${folder}: ${docs.length} objects, nothing to complain about\n`);
  }
}
