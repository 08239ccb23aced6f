import { type Config, type ConfigSpec, readConfig } from "@florence/service";

/** Variables by name, as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** This process's own environment. */
export const environment: Environment = process.env;

// Services that share a process read one environment each; whoever misspelt a name needs to hear of it once.
const warned = new Set<string>();

/**
 * Reads a program's settings and warns, once for each, about FLORENCE_ variables that nobody declares. `alsoKnown` are the settings of
 * programs that share the process. Throws a ConfigError that names every unusable variable.
 */
export function readEnvironment<S extends ConfigSpec>(
  env: Environment,
  spec: S,
  alsoKnown: readonly ConfigSpec[] = [],
): Config<S> {
  return readConfig(env, spec, { alsoKnown, onUnknown: warnUnknown });
}

/** Reads the settings of several programs that share a process, by name. Fails and warns as readEnvironment does. */
export function readEnvironments<S extends Readonly<Record<string, ConfigSpec>>>(
  env: Environment,
  specs: S,
): { readonly [K in keyof S]: Config<S[K]> } {
  const all = Object.values(specs);
  const entries = Object.entries(specs).map(([name, spec]) => [name, readEnvironment(env, spec, all)]);
  return Object.fromEntries(entries) as { readonly [K in keyof S]: Config<S[K]> };
}

function warnUnknown(variable: string): void {
  if (warned.has(variable)) return;
  warned.add(variable);
  process.emitWarning(`${variable} is set, but no such setting exists.`);
}
