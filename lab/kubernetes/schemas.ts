// Writes the schemas that test/deploy.test.ts holds the manifests to, for the kinds that they use:
//   node lab/kubernetes/schemas.ts
// From Kubernetes' OpenAPI document and the definitions of the others' kinds, without their prose. An object's unknown fields are refused.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { root } from "../../deploy/images/roles.ts";
import { definitionFiles, moduleFolder, modules } from "./modules.ts";

type Schema = { [key: string]: unknown };

const kinds = [
  ...["v1/ConfigMap", "v1/Namespace", "v1/Secret", "v1/Service", "v1/ServiceAccount", "apps/v1/Deployment"],
  ...["apps/v1/StatefulSet", "autoscaling/v2/HorizontalPodAutoscaler", "policy/v1/PodDisruptionBudget"],
  ...["networking.k8s.io/v1/NetworkPolicy", "networking.k8s.io/v1/Ingress", "scheduling.k8s.io/v1/PriorityClass"],
];
const kept = [
  "$ref",
  "type",
  "required",
  "enum",
  "pattern",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "minItems",
];

/** A schema without prose and defaults, and strict: what it does not name is refused. */
function strict(schema: Schema): Schema {
  if (schema.format === "int-or-string" || schema["x-kubernetes-int-or-string"]) return { type: ["string", "integer"] };
  const out: Schema = Object.fromEntries(kept.filter((key) => key in schema).map((key) => [key, schema[key]]));
  if (schema.items) out.items = strict(schema.items as Schema);
  const additional = schema.additionalProperties;
  if (additional && typeof additional === "object") out.additionalProperties = strict(additional as Schema);
  if (schema.properties) {
    const entries = Object.entries(schema.properties as Record<string, Schema>);
    out.properties = Object.fromEntries(entries.map(([name, value]) => [name, strict(value)]));
    if (additional === undefined && !schema["x-kubernetes-preserve-unknown-fields"]) out.additionalProperties = false;
  }
  if (schema.nullable && typeof out.type === "string") out.type = [out.type, "null"];
  return out;
}

const swagger = join(moduleFolder("kubernetes"), "api/openapi-spec/swagger.json");
const { definitions } = JSON.parse(readFileSync(swagger, "utf8")) as { definitions: Record<string, Schema> };
const schemas: Record<string, Schema> = {};
const used: Record<string, Schema> = {};

/** Takes a definition and all that it refers to. */
function take(name: string): void {
  if (name in used) return;
  const schema = strict(definitions[name] as Schema);
  used[name] = schema;
  for (const [, next] of JSON.stringify(schema).matchAll(/"#\/definitions\/([^"]+)"/g)) take(next as string);
}

for (const [name, schema] of Object.entries(definitions)) {
  const meant = (schema["x-kubernetes-group-version-kind"] ?? []) as { group: string; version: string; kind: string }[];
  for (const { group, version, kind } of meant) {
    const id = `${group ? `${group}/` : ""}${version}/${kind}`;
    if (!kinds.includes(id)) continue;
    take(name);
    schemas[id] = { $ref: `#/definitions/${name}` };
  }
}
take("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");

interface Definition {
  spec: { group: string; names: { kind: string }; versions: { name: string; schema: { openAPIV3Schema: Schema } }[] };
}
for (const [module, path] of definitionFiles) {
  // Some are templates: what is between braces is left out.
  const text = readFileSync(join(moduleFolder(module), path), "utf8").replace(/^.*\{\{.*\n/gm, "");
  for (const document of parseAllDocuments(text)) {
    const { group, names, versions } = (document.toJS() as Definition).spec;
    for (const { name, schema } of versions) {
      const converted = strict(schema.openAPIV3Schema);
      const metadata = { $ref: "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" };
      schemas[`${group}/${name}/${names.kind}`] = {
        ...converted,
        properties: { ...(converted.properties as Schema), metadata },
      };
    }
  }
}

const missing = kinds.filter((kind) => !(kind in schemas));
if (missing.length > 0) throw new Error(`No schema for ${missing.join(", ")}.`);
const file = join(root, "test/fixtures/kubernetes/schemas.json");
const text = JSON.stringify({ modules, kinds: schemas, definitions: used });
writeFileSync(file, `${text}\n`);
console.log(
  `${Object.keys(schemas).length} kinds, ${Object.keys(used).length} definitions, ${(text.length / 1e3).toFixed(0)} kB`,
);
