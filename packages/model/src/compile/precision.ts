/** How a built folder stores and runs its weights. */
export const precisions = ["fp32", "fp16", "int8", "int4"] as const;
export type Precision = (typeof precisions)[number];

/** How one tensor is stored. */
export type Form = "float32" | "float16" | "int8-columns" | "int8-blocks" | "int4-blocks";

const linear = /\.(qkv|proj|fc1|fc2|[qkvo]_proj|out_proj)\.weight$/;
const vision = /^model\.vision_tower\.(blocks)\./;
const encoder = /^model\.language_model\.encoder\.layers\./;
const decoder = /^model\.language_model\.decoder\.layers\./;
// Computed once a prompt by the prompt graph, not once a token by the decode graph.
const crossKeyValue = /\.encoder_attn\.[kv]_proj\./;

/**
 * The form of a tensor that is a linear's weight, or undefined for every other.
 * Vision and prompt graphs see one image or prompt a call in the integer precisions, so one activation scale a call does no harm, and
 * plain integer products are the fastest. The decode graph mixes rows of strangers: blocks scale each row by itself.
 */
export function linearForm(name: string, precision: Precision): Form | undefined {
  if (!linear.test(name)) return undefined;
  const perCall = vision.test(name) || encoder.test(name) || crossKeyValue.test(name);
  if (!perCall && !decoder.test(name)) return undefined;
  switch (precision) {
    case "fp32":
      return "float32";
    case "fp16":
      return "float16";
    case "int8":
      return perCall ? "int8-columns" : "int8-blocks";
    case "int4":
      return perCall ? "int8-columns" : "int4-blocks";
  }
}

/**
 * The form of the output head's copy of the token embedding. Never 4 bits: neighbouring locations differ by little, and at 4 bits the
 * head alone moves boxes.
 */
export function headForm(precision: Precision): Form {
  return precision === "int8" || precision === "int4" ? "int8-blocks" : tableForm(precision);
}

/** The form of tables that are looked up, a row at a time: half the bytes cost nothing there. */
export function tableForm(precision: Precision): Form {
  return precision === "fp32" ? "float32" : "float16";
}

/** Whether a call of the vision or prompt graph may hold one image or prompt only: its activations share one scale. */
export function oneByOne(precision: Precision): boolean {
  return precision === "int8" || precision === "int4";
}
