import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { float32Tensor, int64Tensor, openSession, type Session, type Tensors } from "../engine/onnxruntime.ts";
import { numBeamsMax, promptTokensMax } from "../generation/options.ts";
import type { Advance, Hypothesis, RowOutput, Search } from "../generation/search.ts";
import { candidatesPerRow, selfNames } from "../graphs/decode.ts";
import { crossNames } from "../graphs/prompt.ts";
import { KvPool } from "./kv-pool.ts";
import type { EncodedPrompts } from "./prompt-model.ts";

// Self-attention reads whole steps of positions: small ones waste little, large ones copy the cache less often as it grows.
const selfPositionStep = 32;
const crossPositionStep = 16;

export interface BatchLimits {
  /** Hypotheses in one step; a sequence with n beams takes n from the start. */
  readonly rowsMax: number;
  /** Sequences in one step. */
  readonly sequencesMax: number;
}

/**
 * Limits whose caches cannot exceed `bytesMax`, however long answers and prompts become: half of it for self-attention, half for
 * cross-attention. One sequence is always allowed.
 */
export function batchLimits(
  manifest: Manifest,
  wanted: { rowsMax: number; bytesMax: number; newTokensMax: number },
): BatchLimits {
  const { text } = manifest.config;
  const positionBytes = 2 * text.decoderLayers * text.hidden * Float32Array.BYTES_PER_ELEMENT;
  const rowPositions = Math.min(text.positions, wanted.newTokensMax);
  const fit = (positions: number) => Math.max(1, Math.floor(wanted.bytesMax / 2 / (positions * positionBytes)));
  const rowsMax = Math.max(numBeamsMax, Math.min(wanted.rowsMax, fit(rowPositions)));
  return { rowsMax, sequencesMax: Math.min(rowsMax, fit(crossPositionsMax(manifest))) };
}

function crossPositionsMax({ config }: Manifest): number {
  return config.imageTokens + promptTokensMax(config);
}

/** One sequence in the batch. Its fields belong to DecodeBatch. */
export interface Sequence {
  readonly search: Search;
  readonly beams: number;
  /** Which slot of the cross-attention pool holds its prompt. */
  slot: number;
  readonly crossLength: number;
  /** For each hypothesis, its row of the self-attention pool. */
  rows: number[];
}

/** One row of the self-attention pool. */
interface Row {
  readonly owner: Sequence;
  /** Positions of the cache that hold this hypothesis's keys and values. */
  filled: number;
}

export interface Stepped {
  readonly sequence: Sequence;
  readonly advance: Advance;
}

/**
 * Sequences that are decoded together, one token a step, whatever their age and beams; they join and leave between steps.
 * Rows and slots in use are always the first ones of their pools, so a step's tensors are views.
 */
export class DecodeBatch implements AsyncDisposable {
  readonly limits: BatchLimits;
  readonly #session: Session;
  readonly #layers: number;
  readonly #self: KvPool;
  readonly #cross: KvPool;
  readonly #dims: { heads: number; dim: number };
  readonly #sequences: Sequence[] = []; // by slot
  readonly #rows: Row[] = [];
  #stepping = false;
  readonly #leaving = new Set<Sequence>();

  private constructor(session: Session, manifest: Manifest, limits: BatchLimits) {
    const { text } = manifest.config;
    this.#session = session;
    this.limits = limits;
    this.#layers = text.decoderLayers;
    this.#dims = { heads: text.decoderHeads, dim: text.hidden / text.decoderHeads };
    const common = { tensors: 2 * text.decoderLayers, ...this.#dims };
    this.#self = new KvPool({
      ...common,
      positionsMax: text.positions,
      positionStep: selfPositionStep,
      slotsMax: limits.rowsMax,
    });
    this.#cross = new KvPool({
      ...common,
      positionsMax: crossPositionsMax(manifest),
      positionStep: crossPositionStep,
      slotsMax: limits.sequencesMax,
    });
  }

  static async load(folder: string, manifest: Manifest, threads: number, limits: BatchLimits): Promise<DecodeBatch> {
    return new DecodeBatch(await openSession(join(folder, graphFiles.decode), threads), manifest, limits);
  }

  get sequences(): readonly Sequence[] {
    return this.#sequences;
  }

  /** Bytes of both caches. */
  get bytes(): number {
    return this.#self.bytes + this.#cross.bytes;
  }

  /** How many more sequences and rows would find room. */
  get room(): { readonly sequences: number; readonly rows: number } {
    const reserved = this.#sequences.reduce((n, s) => n + s.beams, 0);
    return { sequences: this.limits.sequencesMax - this.#sequences.length, rows: this.limits.rowsMax - reserved };
  }

  /** Whether a sequence of so many beams finds room now. */
  hasRoom(beams: number): boolean {
    const { sequences, rows } = this.room;
    return sequences >= 1 && rows >= beams;
  }

  /** Adds a sequence that decodes from prompt `index` of `encoded`. It takes part from the next step on. */
  join(search: Search, beams: number, encoded: EncodedPrompts, index: number): Sequence {
    if (!this.hasRoom(beams)) throw new RangeError("the decode batch is full");
    const crossLength = encoded.lengths[index] as number;
    const slot = this.#sequences.length;
    this.#cross.reserve(slot + 1, crossLength, slot);
    const size = this.#dims.heads * encoded.stride * this.#dims.dim;
    for (const [t, data] of encoded.tensors.entries())
      this.#cross.fill(t, slot, data, index * size, encoded.stride, crossLength);
    const sequence: Sequence = { search, beams, slot, crossLength, rows: [] };
    this.#sequences.push(sequence);
    sequence.rows.push(this.#addRow(sequence));
    return sequence;
  }

  /** Takes a sequence out, whatever its state; while a step runs, at its end. */
  leave(sequence: Sequence): void {
    if (this.#stepping) this.#leaving.add(sequence);
    else this.#remove(sequence);
  }

  /** One token for every sequence. Those that are done have left the batch when this resolves. */
  async step(): Promise<Stepped[]> {
    if (this.#sequences.length === 0) return [];
    this.#stepping = true;
    try {
      return await this.#step();
    } finally {
      this.#stepping = false;
      for (const sequence of this.#leaving) this.#remove(sequence);
      this.#leaving.clear();
    }
  }

  async #step(): Promise<Stepped[]> {
    const feeds = this.#feeds();
    const out = await this.#session.run(feeds, ["top_ids", "top_logits", "log_sum", "forced_logits", "appended"]);
    const appended = out.appended?.data as Float32Array;
    const perRow = this.#layers * 2 * this.#dims.heads * this.#dims.dim;
    for (const [i, row] of this.#rows.entries()) this.#self.append(i, row.filled++, appended, i * perRow);

    // First every search decides, then rows move: outputs are read at the places that rows had when the step began.
    let all: Float32Array | undefined;
    const decided: { stepped: Stepped; before: readonly Hypothesis[] }[] = [];
    for (const sequence of this.#sequences) {
      const before = sequence.search.hypotheses;
      let advance = sequence.search.advance(sequence.rows.map((row) => rowOutput(out, row)));
      if (advance.kind === "more") {
        // The appended position is masked in these feeds, so the same step gives the same logits.
        all ??= (await this.#session.run(feeds, ["logits"])).logits?.data as Float32Array;
        const logits = all;
        advance = sequence.search.advance(sequence.rows.map((row) => rowOutput(out, row, logits)));
        if (advance.kind === "more") throw new Error("a search asked for more than all logits");
      }
      decided.push({ stepped: { sequence, advance }, before });
    }
    for (const { stepped, before } of decided) {
      if (stepped.advance.kind === "continue") this.#follow(stepped.sequence, before, stepped.advance.parents);
      else this.#leaving.add(stepped.sequence);
    }
    return decided.map((d) => d.stepped);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }

  /** Gives each new hypothesis a row: the first child of a parent stays in its row, further ones copy what differs. */
  #follow(sequence: Sequence, before: readonly Hypothesis[], parents: readonly number[]): void {
    if (parents.length === 1 && parents[0] === 0 && sequence.rows.length === 1) return;
    const old = sequence.rows;
    const kept = new Set<number>();
    const next: (number | undefined)[] = parents.map((parent) => {
      if (kept.has(parent)) return undefined;
      kept.add(parent);
      return old[parent];
    });
    const free = [...before.keys()].filter((i) => !kept.has(i));
    for (const [i, row] of next.entries()) {
      if (row !== undefined) continue;
      const parent = parents[i] as number;
      const source = before[parent] as Hypothesis;
      const reused = free.pop();
      // Keys and values of a common beginning are the same: only what follows it is copied.
      const from = reused === undefined ? 0 : commonPrefix((before[reused] as Hypothesis).ids, source.ids);
      const target = reused === undefined ? this.#addRow(sequence) : (old[reused] as number);
      this.#self.copy(old[parent] as number, target, from, source.ids.length);
      (this.#rows[target] as Row).filled = source.ids.length;
      next[i] = target;
    }
    sequence.rows = next as number[];
    // From the last row down, so that no row yet to be removed is moved.
    for (const row of free.map((i) => old[i] as number).sort((x, y) => y - x)) this.#removeRow(row);
  }

  #remove(sequence: Sequence): void {
    if (this.#sequences[sequence.slot] !== sequence) return; // it has left before
    while (sequence.rows.length > 0) this.#removeRow(sequence.rows.pop() as number);
    const last = this.#sequences.pop() as Sequence;
    if (last !== sequence) {
      this.#cross.copy(last.slot, sequence.slot, 0, last.crossLength);
      last.slot = sequence.slot;
      this.#sequences[last.slot] = last;
    }
    if (this.#sequences.length === 0) {
      this.#self.clear();
      this.#cross.clear();
    }
  }

  #addRow(owner: Sequence): number {
    const row = this.#rows.length;
    this.#self.reserve(row + 1, 1, row);
    this.#rows.push({ owner, filled: 0 });
    return row;
  }

  #removeRow(row: number): void {
    const last = this.#rows.length - 1;
    const moved = this.#rows.pop() as Row;
    if (row === last) return;
    this.#self.copy(last, row, 0, moved.filled);
    moved.owner.rows[moved.owner.rows.indexOf(last)] = row;
    this.#rows[row] = moved;
  }

  #feeds(): Tensors {
    const rows = this.#rows.length;
    const prompts = this.#sequences.length;
    const positions = this.#rows.map((row) => row.filled);
    const tokens = this.#rows.map(
      ({ owner }, row) => (owner.search.hypotheses[owner.rows.indexOf(row)] as Hypothesis).ids.at(-1) as number,
    );
    this.#self.reserve(rows, Math.max(...positions) + 1, rows);
    const width = Math.max(...this.#sequences.map((s) => s.rows.length)); // K
    const group: number[] = [];
    const ungroup: number[] = Array(rows);
    for (const { rows: own, slot } of this.#sequences) {
      for (let k = 0; k < width; k++) group.push(own[k] ?? (own[0] as number));
      for (const [k, row] of own.entries()) ungroup[row] = slot * width + k;
    }
    const feeds: Tensors = {
      ids: int64Tensor(tokens, [rows]),
      positions: int64Tensor(positions, [rows]),
      group: int64Tensor(group, [prompts, width]),
      ungroup: int64Tensor(ungroup, [rows]),
      cross_lengths: int64Tensor(
        this.#sequences.map((s) => s.crossLength),
        [prompts],
      ),
    };
    const { heads, dim } = this.#dims;
    for (let l = 0; l < this.#layers; l++) {
      const self = selfNames(l);
      const cross = crossNames(l);
      const selfDims = [rows, heads, this.#self.positions, dim];
      const crossDims = [prompts, heads, this.#cross.positions, dim];
      feeds[self.key] = float32Tensor(this.#self.view(2 * l, rows), selfDims);
      feeds[self.value] = float32Tensor(this.#self.view(2 * l + 1, rows), selfDims);
      feeds[cross.key] = float32Tensor(this.#cross.view(2 * l, prompts), crossDims);
      feeds[cross.value] = float32Tensor(this.#cross.view(2 * l + 1, prompts), crossDims);
    }
    return feeds;
  }
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

function rowOutput(out: Tensors, row: number, all?: Float32Array): RowOutput {
  const ids = out.top_ids?.data as BigInt64Array;
  const logits = out.top_logits?.data as Float32Array;
  const forced = out.forced_logits?.data as Float32Array;
  const logSums = out.log_sum?.data as Float32Array;
  const first = row * candidatesPerRow;
  const vocabulary = (all?.length ?? 0) / logSums.length;
  return {
    ids: Array.from(ids.subarray(first, first + candidatesPerRow), Number),
    logits: logits.subarray(first, first + candidatesPerRow),
    logSum: logSums[row] as number,
    forcedBosLogit: forced[2 * row] as number,
    forcedEosLogit: forced[2 * row + 1] as number,
    ...(all && { all: all.subarray(row * vocabulary, (row + 1) * vocabulary) }),
  };
}
