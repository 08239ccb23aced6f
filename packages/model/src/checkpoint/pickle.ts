import { ModelError } from "../errors.ts";

/** A name that a pickle refers to; it is only ever compared, never looked up or called. */
export class PickleGlobal {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** An object that a pickle keeps outside itself, named by a tuple. PyTorch keeps tensors' bytes so. */
export class PersistentId {
  readonly id: PickleValue;
  constructor(id: PickleValue) {
    this.id = id;
  }
}

/** What a call of an allowed name stands for: the name and what it was given. Nothing is called. */
export class PickleCall {
  readonly name: string;
  readonly args: readonly PickleValue[];
  constructor(name: string, args: readonly PickleValue[]) {
    this.name = name;
    this.args = args;
  }
}

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | PersistentId
  | PickleCall;

const mark = Symbol("mark");
type Stacked = PickleValue | typeof mark;

/** The one class whose instances are built here: a dictionary that a state dictionary is. */
const orderedDict = "collections.OrderedDict";

/**
 * Reads a pickle of plain values: dictionaries, lists, tuples, strings, numbers, and calls of the names in `allowed`. It is a small
 * machine with a stack; a name that is not allowed and an opcode that state dictionaries do not use are refused by name, and no code is
 * ever run. Memory and time are within a constant of the pickle's own length. Throws checkpoint_unsupported or checkpoint_truncated.
 */
export function readPickle(bytes: Uint8Array, allowed: ReadonlySet<string>, name: string): PickleValue {
  return new Machine(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), allowed, name).run();
}

class Machine {
  readonly #bytes: Buffer;
  readonly #allowed: ReadonlySet<string>;
  readonly #name: string;
  #at = 0;
  readonly #stack: Stacked[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(bytes: Buffer, allowed: ReadonlySet<string>, name: string) {
    this.#bytes = bytes;
    this.#allowed = allowed;
    this.#name = name;
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.#take(1)[0] as number;
      if (opcode === 0x2e) return this.#pop(); // STOP
      this.#step(opcode);
    }
  }

  #step(opcode: number): void {
    switch (String.fromCharCode(opcode)) {
      case "\x80": // PROTO
        this.#take(1);
        return;
      case "\x95": // FRAME
        this.#take(8);
        return;
      case "(": // MARK
        this.#stack.push(mark);
        return;
      case "N":
        this.#push(null);
        return;
      case "\x88":
        this.#push(true);
        return;
      case "\x89":
        this.#push(false);
        return;
      case "K":
        this.#push(this.#take(1)[0] as number);
        return;
      case "M":
        this.#push(this.#take(2).readUInt16LE());
        return;
      case "J":
        this.#push(this.#take(4).readInt32LE());
        return;
      case "\x8a": // LONG1
        this.#push(this.#long(this.#take(this.#take(1)[0] as number)));
        return;
      case "G":
        this.#push(this.#take(8).readDoubleBE());
        return;
      case "X": // BINUNICODE
        this.#push(this.#take(this.#take(4).readUInt32LE()).toString("utf8"));
        return;
      case "\x8c": // SHORT_BINUNICODE
        this.#push(this.#take(this.#take(1)[0] as number).toString("utf8"));
        return;
      case "]":
      case ")": // EMPTY_LIST, EMPTY_TUPLE
        this.#push([]);
        return;
      case "}":
        this.#push(new Map());
        return;
      case "t":
        this.#push(this.#toMark());
        return;
      case "\x85":
      case "\x86":
      case "\x87": // TUPLE1 to TUPLE3
        this.#push(this.#popMany(opcode - 0x84));
        return;
      case "a":
      case "e": {
        const items = opcode === 0x61 ? [this.#pop()] : this.#toMark(); // APPEND, APPENDS
        const list = this.#top();
        if (!Array.isArray(list)) throw this.#refused("appends to what is no list");
        for (const item of items) list.push(item);
        return;
      }
      case "s":
      case "u": // SETITEM, SETITEMS
        this.#setItems(opcode === 0x73 ? this.#popMany(2) : this.#toMark());
        return;
      case "q":
        this.#memo.set(this.#take(1)[0] as number, this.#top());
        return;
      case "r":
        this.#memo.set(this.#take(4).readUInt32LE(), this.#top());
        return;
      case "\x94":
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case "h":
        this.#recall(this.#take(1)[0] as number);
        return;
      case "j":
        this.#recall(this.#take(4).readUInt32LE());
        return;
      case "c":
        this.#global(this.#line(), this.#line());
        return;
      case "\x93": {
        const [module, member] = this.#popMany(2); // STACK_GLOBAL
        this.#global(String(module), String(member));
        return;
      }
      case "Q":
        this.#push(new PersistentId(this.#pop()));
        return;
      case "R":
        this.#reduce();
        return;
      case "b": // BUILD: attributes of a dictionary, such as a state's _metadata, say nothing about tensors
        this.#pop();
        if (!(this.#top() instanceof Map)) throw this.#refused("sets attributes of an object");
        return;
      default:
        throw this.#refused(`uses the opcode 0x${opcode.toString(16)}`);
    }
  }

  #reduce(): void {
    const [callee, args] = this.#popMany(2);
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) throw this.#refused("calls what is no name");
    if (callee.name === orderedDict && args.length > 0) throw this.#refused("fills a dictionary as it builds it");
    this.#push(callee.name === orderedDict ? new Map() : new PickleCall(callee.name, args));
  }

  #global(module: string, member: string): void {
    const name = `${module}.${member}`;
    if (!this.#allowed.has(name) && name !== orderedDict) throw this.#refused(`names ${name.slice(0, 100)}`);
    this.#push(new PickleGlobal(name));
  }

  #setItems(pairs: readonly PickleValue[]): void {
    const map = this.#top();
    if (!(map instanceof Map) || pairs.length % 2 !== 0) throw this.#refused("sets items of what is no dictionary");
    for (let i = 0; i < pairs.length; i += 2) map.set(pairs[i] as PickleValue, pairs[i + 1] as PickleValue);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#broken();
    this.#push(value);
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) throw this.#broken();
    return value;
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.#broken();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    const values: PickleValue[] = [];
    for (let i = 0; i < count; i++) values.unshift(this.#pop());
    return values;
  }

  #toMark(): PickleValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw this.#broken();
    const values = this.#stack.splice(at);
    values.shift();
    return values as PickleValue[];
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw this.#broken();
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#broken();
    const line = this.#take(end - this.#at).toString("utf8");
    this.#take(1);
    return line;
  }

  /** A whole number of up to 8 bytes, little-endian, in two's complement. */
  #long(bytes: Buffer): number {
    if (bytes.length > 8) throw this.#refused("holds a whole number of more than 64 bits");
    let value = 0n;
    for (const [i, byte] of bytes.entries()) value |= BigInt(byte) << BigInt(8 * i);
    const number = Number(BigInt.asIntN(8 * Math.max(1, bytes.length), value));
    if (!Number.isSafeInteger(number)) throw this.#refused("holds a whole number that is too large");
    return number;
  }

  #refused(what: string): ModelError {
    return new ModelError(
      "checkpoint_unsupported",
      `${this.#name} is no plain state dictionary: its pickle ${what}. Nothing of it was run. Save the weights as safetensors.`,
    );
  }

  #broken(): ModelError {
    return new ModelError("checkpoint_truncated", `${this.#name} is incomplete: its pickle cannot be read.`);
  }
}
