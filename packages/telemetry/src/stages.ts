import {
  type Attributes,
  type Link,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { type Call, currentCall } from "./current.ts";

/** A part of a call's time. */
export interface Stage {
  /** How long it took, milliseconds. */
  readonly ms: number;
  /** How long ago it ended; default: now. */
  readonly agoMs?: number;
  readonly attributes?: Attributes;
  /** What other work it has to do with. */
  readonly links?: readonly (SpanContext | undefined)[];
  readonly kind?: SpanKind;
  /** Default: the call in whose work this is said. */
  readonly call?: Call | undefined;
  /** Moments within it, by performance.now(). */
  readonly events?: readonly { readonly name: string; readonly atMs: number }[];
}

// The SDK keeps no more of either on a span, and drops the later ones without saying so.
const keptMax = 128;

/** Makes the spans of a call's parts, after they have ended: an event says how long something took. */
export class Stages {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Adds a part to a call; undefined where the call's spans are not kept. */
  add({ name }: { readonly name: string }, stage: Stage): SpanContext | undefined {
    const { ms, agoMs = 0, attributes = {}, kind = SpanKind.INTERNAL, call = currentCall() } = stage;
    if (!call?.span || !call.sampled) return undefined;
    const endMs = performance.now() - agoMs;
    const links = (stage.links ?? []).flatMap((context): Link[] => (context ? [{ context }] : [])).slice(0, keptMax);
    const span = this.#tracer.startSpan(
      name,
      { kind, attributes, links, startTime: call.unixMs(endMs - ms) },
      trace.setSpan(ROOT_CONTEXT, call.span),
    );
    for (const { name: event, atMs } of (stage.events ?? []).slice(0, keptMax)) span.addEvent(event, call.unixMs(atMs));
    span.end(call.unixMs(endMs));
    return span.spanContext();
  }
}
