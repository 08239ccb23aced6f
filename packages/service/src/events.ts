/** One kind of event: what it means, for people, and (as a type only) what is said of it. */
export interface EventKind<About extends object> {
  readonly help: string;
  readonly about?: About;
}

/** Declares a kind of event. Names carry units; what is said holds no image bytes, prompts or answers. */
export function event<About extends object = Record<never, never>>(help: string): EventKind<About> {
  return { help };
}

/** The closed list of what happens in one part of the system, by name. */
export type EventKinds = Readonly<Record<string, EventKind<object>>>;

type AboutOf<K> = K extends EventKind<infer About> ? About : never;

/** Says that something happened: one typed function for each kind of a list. */
export type Events<K extends EventKinds> = { readonly [Name in keyof K]: (about: AboutOf<K[Name]>) => void };

/** Hears some of the events of a list: logs, counters, telemetry. It is called at once, on the way of the work, and must not throw. */
export type Listener<K extends EventKinds> = Partial<Events<K>>;

/** Makes the functions of a list. Each calls the listeners that hear its kind, in order; one that nobody hears does nothing. */
export function createEvents<K extends EventKinds>(kinds: K, listeners: readonly Listener<K>[] = []): Events<K> {
  const names = Object.keys(kinds) as (keyof K & string)[];
  const functions = names.map((name) => {
    const hearing = listeners.flatMap((listener) => listener[name]?.bind(listener) ?? []);
    return [name, (about: AboutOf<K[typeof name]>) => hearing.forEach((hear) => void hear(about))] as const;
  });
  return Object.fromEntries(functions) as Events<K>;
}

/** A listener that counts how often each event of a list happened. */
export function countEvents<K extends EventKinds>(
  kinds: K,
): { readonly counts: Readonly<Record<keyof K & string, number>>; readonly listener: Listener<K> } {
  const names = Object.keys(kinds) as (keyof K & string)[];
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Record<keyof K & string, number>;
  const listener = Object.fromEntries(names.map((name) => [name, () => void counts[name]++]));
  return { counts, listener: listener as unknown as Listener<K> }; // A function without parameters hears any event.
}
