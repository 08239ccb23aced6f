import { parseAddress } from "./address.ts";

// What Node's console asks an object for; elsewhere a symbol like any other.
const inspected = Symbol.for("nodejs.util.inspect.custom");

/** A value that must not be seen: it prints, logs and serialises as `[redacted]`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Call it only where the value is used. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "[redacted]";
  }

  toJSON(): string {
    return "[redacted]";
  }

  [inspected](): string {
    return "[redacted]";
  }
}

/** One environment variable: how its text becomes a value. */
export interface Field<T> {
  readonly kind: string;
  readonly help: string;
  readonly variable: string | undefined;
  /** The value when the variable is absent or empty; a field without one is required. */
  readonly fallback: { readonly value: T } | undefined;
  /** Throws an Error that says what the text should have been. */
  readonly parse: (text: string) => T;
}

/** Fields by the name that the program uses; `maxBytes` is read from FLORENCE_MAX_BYTES unless it says otherwise. */
export type ConfigSpec = Readonly<Record<string, Field<unknown>>>;

/** The frozen values of a spec. */
export type Config<S extends ConfigSpec> = { readonly [K in keyof S]: S[K] extends Field<infer T> ? T : never };

/** What every field takes. Without a `default` the variable is required; `default: undefined` makes it optional. */
export interface FieldOptions<D> {
  help: string;
  default?: D;
  /** The variable's name where it does not follow from the field's. */
  variable?: string;
}

/** Every variable that was missing or wrong, each on a line of the message. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The environment is not usable:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

/** Any non-empty text. */
export function text<D extends string | undefined = string>(options: FieldOptions<D>): Field<string | D> {
  return field("text", options, (value) => value);
}

/** A whole number within inclusive bounds. */
export function integer<D extends number | undefined = number>(
  options: FieldOptions<D> & { min: number; max: number },
): Field<number | D> {
  return field(`whole number ${options.min}..${options.max}`, options, (value) => {
    if (!/^[+-]?\d+$/.test(value)) throw new Error("is not a whole number");
    return within(Number(value), options);
  });
}

/** `host:port`, as it was written. */
export function hostAndPort<D extends string | undefined = string>(options: FieldOptions<D>): Field<string | D> {
  return field("host:port", options, (value) => {
    if (parseAddress(value) === undefined) throw new Error("is not of the form host:port");
    return value;
  });
}

/** true or false, also written 1 or 0. */
export function flag<D extends boolean | undefined = boolean>(options: FieldOptions<D>): Field<boolean | D> {
  return field("true or false", options, (value) => {
    if (value === "true" || value === "1") return true;
    if (value === "false" || value === "0") return false;
    throw new Error("is neither true nor false");
  });
}

/** One of a closed set of words. */
export function oneOf<const V extends string, D extends V | undefined = V>(
  values: readonly V[],
  options: FieldOptions<D>,
): Field<V | D> {
  return field(values.join(" | "), options, (value) => {
    const found = values.find((candidate) => candidate === value);
    if (found === undefined) throw new Error(`is none of ${values.join(", ")}`);
    return found;
  });
}

/** What a secret's field takes; `bytesMin` keeps out what is too short to be one. */
interface SecretOptions {
  help: string;
  variable?: string;
  bytesMin?: number;
}

/** A text that must not be seen; optional unless `required`. */
export function secret(options: SecretOptions & { required: true }): Field<Secret>;
export function secret(options: SecretOptions & { required?: false }): Field<Secret | undefined>;
export function secret(options: SecretOptions & { required?: boolean }): Field<Secret | undefined> {
  const { required, bytesMin = 1, ...rest } = options;
  return field("secret", required ? rest : { ...rest, default: undefined }, (value) => {
    if (new TextEncoder().encode(value).length < bytesMin) throw new Error(`has fewer than ${bytesMin} bytes`);
    return new Secret(value);
  });
}

/** How `readConfig` treats variables that nobody declared. */
export interface ReadOptions {
  /** Specs of other programs that share this environment. */
  alsoKnown?: readonly ConfigSpec[];
  /** Told of each FLORENCE_ variable that no spec declares: most likely a misspelling. */
  onUnknown?: (variable: string) => void;
}

/** Reads the environment once, into a frozen object. Throws a ConfigError that names every unusable variable. */
export function readConfig<S extends ConfigSpec>(
  env: Readonly<Record<string, string | undefined>>,
  spec: S,
  options: ReadOptions = {},
): Config<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, item] of Object.entries(spec)) {
    const variable = variableOf(name, item);
    const value = env[variable];
    // Manifests often set a variable to nothing to mean "not set".
    if (value === undefined || value === "") {
      if (item.fallback === undefined) problems.push(`${variable} is required: ${item.help}`);
      else values[name] = item.fallback.value;
      continue;
    }
    try {
      values[name] = item.parse(value);
    } catch (error) {
      // A secret's own text is never repeated.
      const shown = item.kind === "secret" ? "[redacted]" : JSON.stringify(value);
      problems.push(`${variable}=${shown} ${(error as Error).message} (${item.kind})`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  if (options.onUnknown) reportUnknown(env, [spec, ...(options.alsoKnown ?? [])], options.onUnknown);
  return Object.freeze(values) as Config<S>;
}

/** One line of a help text or of a README's table. */
export interface ConfigRow {
  variable: string;
  kind: string;
  /** The default as one would write it; `required` or `unset` where there is none. */
  default: string;
  help: string;
}

/** The spec as rows, in its own order. */
export function describeConfig(spec: ConfigSpec): ConfigRow[] {
  return Object.entries(spec).map(([name, item]) => ({
    variable: variableOf(name, item),
    kind: item.kind,
    default: item.fallback === undefined ? "required" : String(item.fallback.value ?? "unset"),
    help: item.help,
  }));
}

function field<T, D>(kind: string, options: FieldOptions<D>, parse: (text: string) => T): Field<T | D> {
  const fallback = "default" in options ? { value: options.default as D } : undefined;
  return { kind, help: options.help, variable: options.variable, fallback, parse };
}

function within(value: number, { min, max }: { min: number; max: number }): number {
  if (!(value >= min && value <= max)) throw new Error(`is not within ${min} and ${max}`);
  return value;
}

function variableOf(name: string, item: Field<unknown>): string {
  return item.variable ?? `FLORENCE_${name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()}`;
}

function reportUnknown(
  env: Readonly<Record<string, string | undefined>>,
  specs: readonly ConfigSpec[],
  onUnknown: (variable: string) => void,
): void {
  const known = new Set(specs.flatMap((spec) => Object.entries(spec).map(([name, item]) => variableOf(name, item))));
  for (const variable of Object.keys(env)) {
    if (variable.startsWith("FLORENCE_") && !known.has(variable)) onUnknown(variable);
  }
}
