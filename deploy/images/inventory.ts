import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Contrib, Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";

interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly private?: boolean;
}

/** A package of which something is in an image. */
interface Package {
  readonly folder: string;
  readonly manifest: Manifest & { readonly name: string; readonly version: string };
}

/** The packages that files belong to, each once, by name. Our own are left out. */
export function packagesOf(paths: readonly string[]): Package[] {
  const found = new Map<string, Package>();
  for (const path of paths) {
    const entry = packageAt(path);
    if (entry && !entry.manifest.private) found.set(`${entry.manifest.name}@${entry.manifest.version}`, entry);
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

// A folder below a package may have a manifest too, which says only how its files are read.
function packageAt(path: string): Package | undefined {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, "utf8")) as Manifest;
    const { name, version } = manifest;
    if (name !== undefined && version !== undefined) return { folder, manifest: { ...manifest, name, version } };
  }
  return undefined;
}

/** Copies each package's licence into a folder of its own. One that brings no such file has its readme there, which names the licence. */
export function copyLicenses(packages: readonly Package[], folder: string): void {
  for (const { folder: source, manifest } of packages) {
    const target = join(folder, `${manifest.name.replace("/", "+")}@${manifest.version}`);
    mkdirSync(target, { recursive: true });
    const names = readdirSync(source);
    const licenses = names.filter((name) => /^(licen[cs]e|notice|copying)/i.test(name));
    const texts = licenses.length > 0 ? licenses : names.filter((name) => /^readme/i.test(name));
    for (const name of texts) copyFileSync(join(source, name), join(target, name));
    if (texts.length === 0) writeFileSync(join(target, "LICENSE"), `${manifest.license ?? "unknown"}\n`);
  }
}

/** What is in an image, as a CycloneDX document. The same contents give the same text. */
export function bomOf(name: string, version: string, packages: readonly Package[]): string {
  const components = new Contrib.FromNodePackageJson.Builders.ComponentBuilder(
    new Contrib.FromNodePackageJson.Factories.ExternalReferenceFactory(),
    new Contrib.License.Factories.LicenseFactory(isExpression),
  );
  const bom = new Models.Bom();
  bom.metadata.component = new Models.Component(Enums.ComponentType.Application, name, { version, bomRef: name });
  for (const { folder, manifest } of packages) {
    const component = components.makeComponent(manifest);
    if (component === undefined) continue;
    component.purl = `pkg:npm/${manifest.name.replace("@", "%40")}@${manifest.version}`;
    component.bomRef.value = component.purl;
    // Shared libraries that hold others say which.
    const versions = join(folder, "versions.json");
    if (existsSync(versions)) {
      for (const [part, of] of Object.entries(JSON.parse(readFileSync(versions, "utf8")) as Record<string, string>)) {
        component.components.add(new Models.Component(Enums.ComponentType.Library, part, { version: of }));
      }
    }
    bom.components.add(component);
    bom.metadata.component.dependencies.add(component.bomRef);
  }
  const spec = Spec.SpecVersionDict[Spec.Version.v1dot6];
  if (spec === undefined) throw new Error("CycloneDX 1.6 is not supported.");
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(spec));
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** Whether a licence is an expression of identifiers, such as "MIT OR Apache-2.0". */
function isExpression(text: string): boolean {
  return /^\(?[\w.+-]+( (AND|OR|WITH) [\w.+-]+)+\)?$/.test(text);
}
