import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** A span as it was exported. Ids are hexadecimal, times Unix milliseconds. */
export interface ExportedSpan {
  readonly service: string;
  readonly instance: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly name: string;
  readonly kind: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly { readonly name: string; readonly atMs: number }[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  /** 0 unset, 1 ok, 2 error. */
  readonly status: number;
}

/** Takes OTLP over HTTP as a collector does, and keeps what it got. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly ExportedSpan[];
  /** Everything that was sent, as it was sent. */
  readonly bodies: readonly Buffer[];
  /** Resolves once what it got fulfils a condition. */
  until<T>(condition: (spans: readonly ExportedSpan[]) => T | undefined): Promise<T>;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ExportedSpan[] = [];
  const bodies: Buffer[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    bodies.push(body);
    if (request.url === "/v1/traces") spans.push(...readSpans(body));
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    async until(condition) {
      for (;;) {
        const met = condition(spans);
        if (met !== undefined) return met;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A trace as text: each span with its share of the time, indented under its parent. */
export function drawTrace(spans: readonly ExportedSpan[]): string {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const roots = spans.filter(({ parentId }) => !ids.has(parentId));
  const fromMs = Math.min(...spans.map(({ startMs }) => startMs));
  const toMs = Math.max(...spans.map(({ endMs }) => endMs));
  const width = 40;
  const column = (ms: number) => Math.round(((ms - fromMs) / (toMs - fromMs || 1)) * width);
  const lines: string[] = [];
  const draw = (span: ExportedSpan, depth: number) => {
    const { startMs, endMs, name, service, links, attributes, events } = span;
    const bar = " ".repeat(column(startMs)) + "▇".repeat(Math.max(1, column(endMs) - column(startMs)));
    const shown = ["florence.result", "florence.tier", "florence.task", "florence.wait.by", "florence.batch.size"]
      .flatMap((key) => (attributes[key] === undefined ? [] : [String(attributes[key])]))
      .concat(events.length > 0 ? [`${events.length} events`] : [], links.length > 0 ? [`${links.length} links`] : []);
    const label = `${"  ".repeat(depth)}${name}${shown.length > 0 ? ` (${shown.join(", ")})` : ""}`;
    lines.push(
      `${label.padEnd(64)} ${service.replace("florence-", "").padEnd(8)} ${(endMs - startMs).toFixed(1).padStart(8)} ms |${bar}`,
    );
    const children = spans.filter(({ parentId }) => parentId === span.spanId);
    for (const child of children.sort((a, b) => a.startMs - b.startMs)) draw(child, depth + 1);
  };
  for (const root of roots) draw(root, 0);
  return lines.join("\n");
}

type Fields = Map<number, (number | bigint | Uint8Array)[]>;

/** The fields of a protobuf message by their numbers, whatever its schema. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const value = readField(reader, type);
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

function readField(reader: BinaryReader, type: WireType): number | bigint | Uint8Array {
  if (type === WireType.Varint) return BigInt(reader.int64());
  if (type === WireType.Bit64) return BigInt(reader.fixed64());
  if (type === WireType.Bit32) return reader.fixed32();
  return reader.bytes();
}

const messages = (fields: Fields, number: number) =>
  (fields.get(number) ?? []).map((value) => fieldsOf(value as Uint8Array));
const bytes = (fields: Fields, number: number) =>
  (fields.get(number)?.[0] as Uint8Array | undefined) ?? new Uint8Array();
const text = (fields: Fields, number: number) => new TextDecoder().decode(bytes(fields, number));
const hex = (fields: Fields, number: number) => Buffer.from(bytes(fields, number)).toString("hex");
const ms = (fields: Fields, number: number) => Number((fields.get(number)?.[0] as bigint | undefined) ?? 0n) / 1e6;

// opentelemetry/proto/trace/v1/trace.proto, whose field numbers these are.
function readSpans(body: Uint8Array): ExportedSpan[] {
  return messages(fieldsOf(body), 1).flatMap((resourceSpans) => {
    const resource = attributesOf(messages(resourceSpans, 1)[0] ?? new Map(), 1);
    return messages(resourceSpans, 2).flatMap((scopeSpans) =>
      messages(scopeSpans, 2).map((span) => ({
        service: String(resource["service.name"]),
        instance: String(resource["service.instance.id"]),
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentId: hex(span, 4),
        name: text(span, 5),
        kind: Number(span.get(6)?.[0] ?? 0),
        startMs: ms(span, 7),
        endMs: ms(span, 8),
        attributes: attributesOf(span, 9),
        events: messages(span, 11).map((event) => ({ atMs: ms(event, 1), name: text(event, 2) })),
        links: messages(span, 13).map((link) => ({ traceId: hex(link, 1), spanId: hex(link, 2) })),
        status: Number(messages(span, 15)[0]?.get(3)?.[0] ?? 0),
      })),
    );
  });
}

function attributesOf(fields: Fields, number: number): Record<string, unknown> {
  return Object.fromEntries(messages(fields, number).map((pair) => [text(pair, 1), anyValueOf(messages(pair, 2)[0])]));
}

function anyValueOf(value: Fields | undefined): unknown {
  if (!value) return undefined;
  if (value.has(1)) return text(value, 1);
  if (value.has(2)) return value.get(2)?.[0] === 1n;
  if (value.has(3)) return Number(value.get(3)?.[0]);
  if (value.has(4)) {
    const bits = new DataView(new ArrayBuffer(8));
    bits.setBigUint64(0, value.get(4)?.[0] as bigint);
    return bits.getFloat64(0);
  }
  return messages(messages(value, 5)[0] ?? new Map(), 1).map(anyValueOf);
}
