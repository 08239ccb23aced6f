import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../deploy/images/roles.ts";

/** Where what is built for the lab is kept. */
export const toolsFolder = join(root, ".tools/kubernetes");

/** What the manifests are checked against, as Go modules. */
export const modules = {
  kubernetes: "k8s.io/kubernetes@v1.34.4",
  kwok: "sigs.k8s.io/kwok@v0.8.0",
  keda: "github.com/kedacore/keda/v2@v2.17.2",
  gatewayApi: "sigs.k8s.io/gateway-api@v1.3.0",
  certManager: "github.com/cert-manager/cert-manager@v1.18.2",
  prometheusOperator: "github.com/prometheus-operator/prometheus-operator@v0.85.0",
} as const;

/** The files with the definitions of kinds that are not Kubernetes' own. */
export const definitionFiles: readonly [module: keyof typeof modules, path: string][] = [
  ["keda", "config/crd/bases/keda.sh_scaledobjects.yaml"],
  ["gatewayApi", "config/crd/standard/gateway.networking.k8s.io_gateways.yaml"],
  ["gatewayApi", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
  ["certManager", "deploy/crds/crd-certificates.yaml"],
  ["certManager", "deploy/crds/crd-issuers.yaml"],
  ["prometheusOperator", "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"],
];

/** Fetches a module's sources once, and gives their folder. Throws where there is no Go, or no proxy for its modules. */
export function moduleFolder(name: keyof typeof modules): string {
  mkdirSync(toolsFolder, { recursive: true });
  const printed = execFileSync("go", ["mod", "download", "-json", modules[name]], {
    cwd: toolsFolder,
    encoding: "utf8",
  });
  return (JSON.parse(printed) as { Dir: string }).Dir;
}
