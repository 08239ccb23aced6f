import { Ajv, type ValidateFunction } from "ajv";
import { type Check, nameOf } from "./documents.ts";

/** What lab/kubernetes/schemas.ts writes. */
export interface Schemas {
  readonly kinds: Readonly<Record<string, object>>;
  readonly definitions: Readonly<Record<string, object>>;
}

/** Every field of every object is one that its kind has, of the right type. */
export function schemaCheck({ kinds, definitions }: Schemas): Check {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const known = new Map<string, ValidateFunction>();
  const validatorOf = (id: string): ValidateFunction | undefined => {
    const schema = kinds[id];
    if (schema !== undefined && !known.has(id)) known.set(id, ajv.compile({ ...schema, definitions }));
    return known.get(id);
  };
  return (docs) =>
    docs.flatMap((doc) => {
      const validate = validatorOf(`${doc.apiVersion}/${doc.kind}`);
      if (validate === undefined) return [`${nameOf(doc)}: no schema for ${doc.apiVersion}`];
      if (validate(doc)) return [];
      return (validate.errors ?? []).map(({ instancePath, message, params }) => {
        const field = params.additionalProperty ?? "";
        return field === ""
          ? `${nameOf(doc)}: ${instancePath} ${message}`
          : `${nameOf(doc)}: ${instancePath} has no field ${field}`;
      });
    });
}
