import type { Tensors } from "../engine/engine.ts";
import type { EncodedPrompts } from "./prompt-model.ts";

/** Names of every decoder layer's keys and values, in the order of a pool. */
export function kvNames(layers: number, namesOf: (layer: number) => { key: string; value: string }): string[] {
  return Array.from({ length: layers }, (_, layer) => namesOf(layer)).flatMap(({ key, value }) => [key, value]);
}

/** A pool's fixed shape and its first size. */
export interface KvShape {
  /** The decode graph's inputs that read the pool, key and value of each decoder layer in turn: tensors that grow together. */
  readonly names: readonly string[];
  readonly heads: number;
  readonly dim: number;
  /** Positions are added in steps of this many. */
  readonly positionStep: number;
  readonly positionsMax: number;
  readonly slotsMax: number;
}

/**
 * Attention keys and values of many sequences, each in a numbered slot, wherever they are kept: for each name of the shape a tensor
 * [slots, heads, positions, dim]. The slots in use are always the first ones: whoever frees one moves the last into it. Changes hold
 * from the next `inputs` on; until then a pool may keep them as notes.
 */
export interface KvPool {
  /** Memory that is held now. */
  readonly bytes: number;
  /** Outputs of a step that `append` reads. */
  readonly outputs: readonly string[];
  /** Makes room for `slots` slots of `positions` positions; what the first `used` slots hold is kept. Throws a RangeError past the shape. */
  reserve(slots: number, positions: number, used: number): void;
  /** What a step reads of the first `slots` slots. It is read until the step has ended: nothing may change before. */
  inputs(slots: number): Promise<Tensors>;
  /** Writes what a step gave for each of the first slots, at that slot's next position. */
  append(step: Tensors, positions: readonly number[]): void;
  /** Writes prompt `index` of `encoded` into a slot, from its first position on. */
  fill(slot: number, encoded: EncodedPrompts, index: number): void;
  /** Copies positions [from, to) of one slot to another. */
  copy(source: number, target: number, from: number, to: number): void;
  /** Gives the memory back; the pool holds nothing afterwards. */
  clear(): void;
}
