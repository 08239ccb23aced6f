import {
  type Fault,
  type IncomingCall,
  type MadeCall,
  type OutgoingCall,
  parseAddress,
  type ServedCall,
  type Tracing,
} from "@florence/service";
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { Call, currentCall, serving } from "./current.ts";
import { attributes as names } from "./registry.ts";

const propagator = new W3CTraceContextPropagator();

/** The context that a call's caller sent along, as W3C's trace context says. */
export function contextOf(header: (name: string) => string | undefined): Context {
  const getter = { get: (_: unknown, name: string) => header(name), keys: () => [] };
  return propagator.extract(ROOT_CONTEXT, undefined, getter);
}

function metadataOf(span: Span | undefined): Record<string, string> {
  const metadata: Record<string, string> = {};
  if (!span) return metadata;
  propagator.inject(trace.setSpan(ROOT_CONTEXT, span), metadata, {
    set: (carrier, name, value) => {
      carrier[name] = value;
    },
  });
  return metadata;
}

/** Makes the spans of calls that come in and go out, with `tracer`; without one, calls are only told apart. */
export function createTracing(tracer: Tracer | undefined): Tracing {
  return {
    serve(incoming: IncomingCall): ServedCall {
      const parent = tracer && contextOf(incoming.header);
      const options = { kind: SpanKind.SERVER, attributes: attributesOf(incoming) };
      const call = new Call(
        tracer && ((startTime) => tracer.startSpan(spanName(incoming), { ...options, startTime }, parent)),
      );
      const context = call.span?.spanContext();
      return {
        headers: incoming.protocol === "http" && context ? { "x-trace-id": context.traceId } : {},
        run: (work) => serving.run(call, work),
        end: () => call.end(),
      };
    },
    call(outgoing: OutgoingCall): MadeCall {
      const call = currentCall();
      // What a timer does that was set up in a call is no part of it.
      if (!tracer || !call?.span || call.ended) return { metadata: {}, end: () => {} };
      const { host = outgoing.address, port } = parseAddress(outgoing.address) ?? {};
      const span = tracer.startSpan(
        spanName(outgoing),
        {
          kind: SpanKind.CLIENT,
          startTime: call.unixMs(performance.now()),
          attributes: {
            ...rpcAttributes(outgoing.name),
            [names.serverAddress.name]: host,
            ...(port !== undefined && { [names.serverPort.name]: port }),
          },
        },
        trace.setSpan(ROOT_CONTEXT, call.span),
      );
      return {
        metadata: metadataOf(span),
        end: (fault) => {
          if (!span.isRecording()) return; // It has ended, or is not kept.
          if (fault) markFailed(span, fault);
          span.end(call.unixMs(performance.now()));
        },
      };
    },
    metadata: () => metadataOf(currentCall()?.span),
    bind: () => {
      const call = currentCall();
      return (work) => (call ? serving.run(call, work) : work());
    },
  };
}

/** Says on a span that what it stands for failed, and how; a fault's own words may hold what nobody should keep. */
export function markFailed(span: Span, { code }: Pick<Fault, "code">): void {
  span.setAttribute(names.errorType.name, code);
  span.setStatus({ code: SpanStatusCode.ERROR, message: code });
}

function spanName({ name }: { readonly name: string }): string {
  const [service, method] = parts(name);
  return service === "" ? method : `${service}/${method}`;
}

function attributesOf({ protocol, name }: IncomingCall): Attributes {
  return protocol === "grpc" ? rpcAttributes(name) : { [names.httpMethod.name]: name };
}

function rpcAttributes(name: string): Attributes {
  const [service, method] = parts(name);
  return { [names.rpcSystem.name]: "grpc", [names.rpcService.name]: service, [names.rpcMethod.name]: method };
}

/** A full name's service and method. */
function parts(name: string): [service: string, method: string] {
  const dot = name.lastIndexOf(".");
  return [name.slice(0, Math.max(0, dot)), name.slice(dot + 1)];
}
