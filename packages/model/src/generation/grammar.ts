import { ungroundable } from "../answers/ungroundable.ts";
import { type AnswerKind, isTextKind, type RegionKind } from "../tasks.ts";
import { strip } from "../text/python-text.ts";

/** What a token can be inside an answer. Labels are made of words and spaces; everything else of Florence-2's own tokens. */
const tokenClass = {
  forbidden: 0,
  word: 1,
  space: 2,
  location: 3,
  polygon: 4,
  polygonEnd: 5,
  separator: 6,
  bos: 7,
  eos: 8,
} as const;
type TokenClass = (typeof tokenClass)[keyof typeof tokenClass];

/** What the grammar needs to know of a tokenizer. */
export interface GrammarTokens {
  readonly size: number;
  isLocation(id: number): boolean;
  tokenId(content: string): number | undefined;
  decode(ids: readonly number[]): string;
  /** Whether a token is one of the added ones, such as <od>, which no label may hold. */
  isAdded(id: number): boolean;
}

/** How regions of a kind are written. */
interface Shape {
  readonly labelled: boolean;
  /** Locations of a region: boxes and quads have a fixed number, and boxes of one label may follow each other. */
  readonly locations: number;
  readonly repeats: boolean;
  /** Whether regions may be polygons; "only" where nothing else is one. */
  readonly polygons: "no" | "maybe" | "only";
  /** Labels that the answer's reader would drop with their regions. */
  readonly dropped: ReadonlySet<string>;
}

const nothing: ReadonlySet<string> = new Set();
const shapes: Readonly<Record<RegionKind, Shape>> = {
  description_with_bboxes: { labelled: true, locations: 4, repeats: true, polygons: "no", dropped: nothing },
  phrase_grounding: { labelled: true, locations: 4, repeats: true, polygons: "no", dropped: ungroundable },
  bboxes: { labelled: false, locations: 4, repeats: true, polygons: "no", dropped: nothing },
  ocr: { labelled: true, locations: 8, repeats: false, polygons: "no", dropped: nothing },
  polygons: { labelled: false, locations: 0, repeats: false, polygons: "only", dropped: nothing },
  description_with_bboxes_or_polygons: {
    labelled: true,
    locations: 4,
    repeats: true,
    polygons: "maybe",
    dropped: nothing,
  },
};

// Three corners make a polygon.
const polygonLocationsMin = 6;

/** How far an answer has come. */
export interface GrammarState {
  readonly at: "start" | "label" | "locations" | "between" | "polygon" | "closed";
  /** The label under way, and whether it holds more than spaces. */
  readonly label: readonly number[];
  readonly said: boolean;
  /** Locations of the region or ring under way. */
  readonly count: number;
  /** Inside <poly> … </poly>. */
  readonly bracketed: boolean;
  /** Boxes or polygons, once the first region has shown which: an answer never mixes them. */
  readonly mode: "boxes" | "polygons" | undefined;
}

const start: GrammarState = { at: "start", label: [], said: false, count: 0, bracketed: false, mode: undefined };

/**
 * Which tokens may follow, so that an answer is well formed for its kind: labels of plain text, whole boxes and quads, polygons of at
 * least three corners, balanced brackets, and an end only where all is complete. A token is allowed only while what it begins can still
 * be completed before the answer's length runs out.
 */
export class Grammar {
  readonly #shape: Shape;
  readonly #classes: Uint8Array;
  readonly #tokens: GrammarTokens;

  private constructor(shape: Shape, classes: Uint8Array, tokens: GrammarTokens) {
    this.#shape = shape;
    this.#classes = classes;
    this.#tokens = tokens;
  }

  /** The grammar of an answer kind; undefined for text, where everything is well formed. `classes` from classify. */
  static of(kind: AnswerKind, classes: Uint8Array, tokens: GrammarTokens): Grammar | undefined {
    return isTextKind(kind) ? undefined : new Grammar(shapes[kind], classes, tokens);
  }

  readonly start = start;

  /** Whether `token` may follow, when `left` more tokens may come after it, the end included. */
  allows(state: GrammarState, token: number, left: number): boolean {
    const next = this.#next(state, token);
    return next !== undefined && this.#tokensToEnd(next) <= left;
  }

  /** The state after a token. One that is not allowed (a forced token) leaves the state as it is. */
  next(state: GrammarState, token: number): GrammarState {
    return this.#next(state, token) ?? state;
  }

  #next(state: GrammarState, token: number): GrammarState | undefined {
    const kind = this.#classes[token] as TokenClass;
    switch (kind) {
      case tokenClass.bos:
        return state.at === "start" ? state : undefined; // trained models repeat <s> before some answers
      case tokenClass.eos:
        return this.#mayEnd(state) ? { ...start, at: "closed" } : undefined;
      case tokenClass.word:
      case tokenClass.space:
        return this.#afterText(state, token, kind === tokenClass.word);
      case tokenClass.location:
        return this.#afterLocation(state);
      case tokenClass.polygon:
        return this.#afterOpening(state);
      case tokenClass.separator:
        return state.at === "polygon" && isRing(state.count) ? { ...state, count: 0 } : undefined;
      case tokenClass.polygonEnd:
        return state.bracketed && isRing(state.count)
          ? { ...state, at: "between", count: 0, bracketed: false }
          : undefined;
      default:
        return undefined;
    }
  }

  #mayEnd(state: GrammarState): boolean {
    if (state.at === "polygon") return !state.bracketed && isRing(state.count);
    return state.at === "start" || state.at === "between";
  }

  #afterText(state: GrammarState, token: number, word: boolean): GrammarState | undefined {
    if (!this.#shape.labelled || !["start", "label", "between"].includes(state.at)) return undefined;
    const continues = state.at === "label";
    return {
      ...state,
      at: "label",
      label: continues ? [...state.label, token] : [token],
      said: word || (continues && state.said),
      count: 0,
    };
  }

  #afterLocation(state: GrammarState): GrammarState | undefined {
    const { locations, repeats, labelled, polygons } = this.#shape;
    if (state.at === "polygon") return { ...state, count: state.count + 1 };
    if (polygons === "only") {
      // Without brackets an answer is one instance; its rings follow separators.
      return state.at === "start" ? { ...state, at: "polygon", count: 1, mode: "polygons" } : undefined;
    }
    if (state.mode === "polygons") return undefined;
    const begins = labelled ? state.at === "label" && this.#isLabel(state) : state.at === "start";
    const again = repeats && state.at === "between";
    if (state.at !== "locations" && !begins && !again) return undefined;
    const count = state.at === "locations" ? state.count + 1 : 1;
    return {
      ...state,
      at: count === locations ? "between" : "locations",
      count: count === locations ? 0 : count,
      mode: "boxes",
    };
  }

  #afterOpening(state: GrammarState): GrammarState | undefined {
    const { polygons, labelled } = this.#shape;
    if (polygons === "no" || state.mode === "boxes") return undefined;
    const begins = labelled ? state.at === "label" && this.#isLabel(state) : state.at === "start";
    // Several instances of one label follow each other.
    const again = state.at === "between" && state.mode === "polygons";
    return begins || again ? { ...state, at: "polygon", count: 0, bracketed: true, mode: "polygons" } : undefined;
  }

  #isLabel({ label, said }: GrammarState): boolean {
    if (!said) return false;
    return this.#shape.dropped.size === 0 || !this.#shape.dropped.has(strip(this.#tokens.decode(label)));
  }

  /** The fewest tokens that complete an answer from here, its end included. */
  #tokensToEnd(state: GrammarState): number {
    const end = 1;
    switch (state.at) {
      case "closed":
        return 0;
      case "start":
      case "between":
        return end;
      case "locations":
        return this.#shape.locations - state.count + end;
      case "polygon": {
        const missing = Math.max(polygonLocationsMin - state.count, state.count % 2);
        return missing + (state.bracketed ? 1 : 0) + end;
      }
      case "label": {
        // A label that is not one yet (spaces, or a phrase that would be dropped) needs one more word.
        const word = this.#isLabel(state) ? 0 : 1;
        const region = state.mode === "polygons" ? polygonLocationsMin + 2 : this.#shape.locations;
        return word + region + end;
      }
    }
  }
}

function isRing(count: number): boolean {
  return count >= polygonLocationsMin && count % 2 === 0;
}

/** The class of every token; made once a tokenizer. */
export function classify(tokens: GrammarTokens, eos: readonly number[], bos: number): Uint8Array {
  const classes = new Uint8Array(tokens.size);
  for (let id = 0; id < tokens.size; id++) classes[id] = classOf(tokens, id);
  const special = { "<poly>": tokenClass.polygon, "</poly>": tokenClass.polygonEnd, "<sep>": tokenClass.separator };
  for (const [content, kind] of Object.entries(special)) {
    const id = tokens.tokenId(content);
    if (id !== undefined) classes[id] = kind;
  }
  classes[bos] = tokenClass.bos;
  for (const id of eos) classes[id] = tokenClass.eos;
  return classes;
}

function classOf(tokens: GrammarTokens, id: number): TokenClass {
  if (tokens.isLocation(id)) return tokenClass.location;
  if (tokens.isAdded(id)) return tokenClass.forbidden;
  const text = tokens.decode([id]);
  // A "<" would begin a token's spelling, a line break ends what the answer's reader takes for a label.
  if (text === "" || /[<\r\n\u0085\u2028\u2029]/.test(text)) return tokenClass.forbidden;
  return strip(text) === "" ? tokenClass.space : tokenClass.word;
}
