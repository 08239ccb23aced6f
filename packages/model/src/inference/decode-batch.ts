import { join } from "node:path";
import { graphFiles } from "../compile/compile.ts";
import type { Manifest } from "../compile/manifest.ts";
import { type Device, openGraph } from "../engine/device.ts";
import { int32Tensor, numbersOf, type Session, type Tensors } from "../engine/engine.ts";
import { numBeamsMax, promptTokensMax } from "../generation/options.ts";
import type { Advance, Hypothesis, RowOutput, Search } from "../generation/search.ts";
import { candidatesPerRow, selfNames } from "../graphs/decode.ts";
import { crossNames } from "../graphs/prompt.ts";
import { HostKvPool } from "./host-kv-pool.ts";
import { type KvPool, kvNames } from "./kv-pool.ts";
import type { EncodedPrompts } from "./prompt-model.ts";

const stepOutputs = ["top_ids", "top_logits", "log_sum", "forced_logits"];
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
 * Rows and slots in use are always the first ones of their pools.
 */
export class DecodeBatch implements AsyncDisposable {
  readonly limits: BatchLimits;
  readonly #session: Session;
  readonly #self: KvPool;
  readonly #cross: KvPool;
  readonly #sequences: Sequence[] = []; // by slot
  readonly #rows: Row[] = [];
  #stepping = false;
  readonly #leaving = new Set<Sequence>();

  private constructor(session: Session, manifest: Manifest, limits: BatchLimits) {
    const { text } = manifest.config;
    this.#session = session;
    this.limits = limits;
    const dims = { heads: text.decoderHeads, dim: text.hidden / text.decoderHeads };
    this.#self = new HostKvPool({
      ...dims,
      names: kvNames(text.decoderLayers, selfNames),
      positionsMax: text.positions,
      positionStep: selfPositionStep,
      slotsMax: limits.rowsMax,
    });
    this.#cross = new HostKvPool({
      ...dims,
      names: kvNames(text.decoderLayers, crossNames),
      positionsMax: crossPositionsMax(manifest),
      positionStep: crossPositionStep,
      slotsMax: limits.sequencesMax,
    });
  }

  /** Loads a built folder's graph. Rejects when the graph's file or its weights are missing or damaged. */
  static async load(folder: string, manifest: Manifest, device: Device, limits: BatchLimits): Promise<DecodeBatch> {
    return new DecodeBatch(await openGraph(join(folder, graphFiles.decode), device), manifest, limits);
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

  /**
   * Adds a sequence that decodes from prompt `index` of `encoded`. It takes part from the next step on. Throws a RangeError when there is
   * no room, an Error while a step runs.
   */
  join(search: Search, beams: number, encoded: EncodedPrompts, index: number): Sequence {
    if (this.#stepping) throw new Error("sequences join between steps");
    if (!this.hasRoom(beams)) throw new RangeError("the decode batch is full");
    const crossLength = encoded.lengths[index] as number;
    const slot = this.#sequences.length;
    this.#cross.reserve(slot + 1, crossLength, slot);
    this.#cross.fill(slot, encoded, index);
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

  /**
   * One token for every sequence. Those that are done have left the batch when this resolves. Rejects when a run does: the searches may
   * then stand between two tokens, and the batch is of no further use.
   */
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
    const inputs = await this.#inputs();
    const out = await this.#session.run(inputs, [...stepOutputs, ...this.#self.outputs]);
    // First every search decides, then rows move: outputs are read at the places that rows had when the step began.
    let all: Float32Array | undefined;
    const decided: { stepped: Stepped; before: readonly Hypothesis[] }[] = [];
    for (const sequence of this.#sequences) {
      const before = sequence.search.hypotheses;
      let advance = sequence.search.advance(sequence.rows.map((row) => rowOutput(out, row)));
      if (advance.kind === "more") {
        all ??= numbersOf(await this.#session.run(inputs, ["logits"]), "logits", "float32");
        const logits = all;
        advance = sequence.search.advance(sequence.rows.map((row) => rowOutput(out, row, logits)));
        if (advance.kind === "more") throw new Error("a search asked for more than all logits");
      }
      decided.push({ stepped: { sequence, advance }, before });
    }
    const positions = this.#rows.map((row) => row.filled);
    this.#self.append(out, positions);
    for (const row of this.#rows) row.filled++;
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

  async #inputs(): Promise<Tensors> {
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
    return {
      ids: int32Tensor(tokens, [rows]),
      positions: int32Tensor(positions, [rows]),
      group: int32Tensor(group, [prompts, width]),
      ungroup: int32Tensor(ungroup, [rows]),
      cross_lengths: int32Tensor(
        this.#sequences.map((s) => s.crossLength),
        [prompts],
      ),
      ...(await this.#self.inputs(rows)),
      ...(await this.#cross.inputs(prompts)),
    };
  }
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

function rowOutput(out: Tensors, row: number, all?: Float32Array): RowOutput {
  const ids = numbersOf(out, "top_ids", "int32");
  const logits = numbersOf(out, "top_logits", "float32");
  const forced = numbersOf(out, "forced_logits", "float32");
  const logSums = numbersOf(out, "log_sum", "float32");
  const first = row * candidatesPerRow;
  const vocabulary = (all?.length ?? 0) / logSums.length;
  return {
    ids: ids.subarray(first, first + candidatesPerRow),
    logits: logits.subarray(first, first + candidatesPerRow),
    logSum: logSums[row] as number,
    forcedBosLogit: forced[2 * row] as number,
    forcedEosLogit: forced[2 * row + 1] as number,
    ...(all && { all: all.subarray(row * vocabulary, (row + 1) * vocabulary) }),
  };
}
