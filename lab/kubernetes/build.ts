import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { moduleFolder, modules, toolsFolder } from "./modules.ts";

const bin = join(toolsFolder, "bin");
const version = modules.kubernetes.split("@")[1] as string;

/** A program of the control plane, built where it is not there yet. Building all takes some eight minutes on two cores, once. */
export function program(
  name: "etcd" | "kube-apiserver" | "kube-controller-manager" | "kube-scheduler" | "kwok",
): string {
  const path = join(bin, name);
  if (existsSync(path)) return path;
  console.log(`building ${name} ...`);
  mkdirSync(bin, { recursive: true });
  if (name === "kwok") go(toolsFolder, "install", modules.kwok.replace("@", "/cmd/kwok@"));
  else {
    const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
    const says = [`gitVersion=${version}`, `gitMajor=${major}`, `gitMinor=${minor}`];
    const flags = `-s -w ${says.map((one) => `-X k8s.io/component-base/version.${one}`).join(" ")}`;
    const source = name === "etcd" ? "go.etcd.io/etcd/server/v3" : `k8s.io/kubernetes/cmd/${name}`;
    go(workspace(), "build", "-mod=mod", "-ldflags", flags, "-o", path, source);
  }
  return path;
}

function go(cwd: string, ...args: string[]): void {
  execFileSync("env", [`GOBIN=${bin}`, "go", ...args], { cwd, stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * A module that requires Kubernetes. Kubernetes' own names folders of its repository for its parts, which only it may; they are
 * published as modules too, and those are named here instead.
 */
function workspace(): string {
  const folder = join(toolsFolder, "build/cp");
  mkdirSync(folder, { recursive: true });
  const manifest = readFileSync(join(moduleFolder("kubernetes"), "go.mod"), "utf8");
  const parts = [...manifest.matchAll(/=> \.\/staging\/src\/(k8s\.io\/[a-z-]+)/g)].map((match) => match[1]);
  const replaced = parts.map((part) => `replace ${part} => ${part} ${version.replace(/^v1/, "v0")}`);
  const kept = manifest.replace(/^module .*$/m, "module control-plane").replace(/^replace \([\s\S]*?^\)/m, "");
  writeFileSync(join(folder, "go.mod"), `${kept}\nrequire k8s.io/kubernetes ${version}\n${replaced.join("\n")}\n`);
  // Nothing is built of it: it only makes the requirement a real one.
  writeFileSync(
    join(folder, "tools.go"),
    '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver/app"\n',
  );
  return folder;
}
