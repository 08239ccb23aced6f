import { ModelError } from "../../errors.ts";
import { ByteReader, damaged } from "../byte-reader.ts";
import type { Orientation } from "../orientation.ts";
import { profileWarnings } from "../profile.ts";
import { type ImageWarning, warning } from "../warnings.ts";
import type { Walked } from "./walked.ts";

// libheif takes as many; a phone's photograph of 48 megapixels has some 250.
const itemsMax = 1000;
// A few properties to each item.
const propertiesMax = 20_000;
// The longest level of boxes is that of properties.
const boxesMax = propertiesMax;
// Tiles hang over the edges of what they make up; and each has its alpha beside it.
const tilePixelsPerPixelMax = 4;
// Below this the tiles' edges outweigh the image.
const tilePixelsAlways = 2 ** 21;

interface Box {
  readonly type: string;
  /** Of its four letters, which is where it can be made into something else. */
  readonly typeAt: number;
  readonly from: number;
  readonly to: number;
}

function* boxes(reader: ByteReader, from: number, to: number): Generator<Box> {
  for (let at = from, count = 0; at + 8 <= to; count++) {
    if (count > boxesMax) throw damaged(reader.format);
    const short = reader.u32(at);
    const type = reader.text(at + 4, 4);
    const head = short === 1 ? 16 : 8;
    const length = short === 1 ? reader.u64(at + 8) : short === 0 ? to - at : short;
    if (length < head || at + length > to) throw damaged(reader.format);
    yield { type, typeAt: at + 4, from: at + head, to: at + length };
    at += length;
  }
}

/** A file that names itself a sequence would be opened as one, by its tracks. */
function hideSequence(bytes: Uint8Array, { from, to }: Box): void {
  for (let at = from; at + 4 <= to; at += 4) {
    const brand = Buffer.from(bytes.buffer, bytes.byteOffset + at, 4);
    const still = { avis: "avif", msf1: "mif1", hevc: "heic", hevx: "heix" }[brand.toString("latin1")];
    if (still !== undefined) brand.write(still, "latin1");
  }
}

/** What a file says of its items, by their numbers. */
interface Items {
  readonly primary: number;
  readonly types: ReadonlyMap<number, string>;
  /** For each item, its properties, as numbers from 1. */
  readonly associations: ReadonlyMap<number, readonly { index: number; at: number }[]>;
  readonly properties: readonly Box[];
  readonly tiles: ReadonlyMap<number, readonly number[]>;
  readonly hasAlpha: boolean;
}

/** Item types that make pixels. All others, EXIF and XMP with them, are hidden from the decoder. */
const makesPixels = /^(av01|hvc1|grid|iden)$/;
const isAlpha = /^urn:(mpeg:(hevc:2015:auxid:1|mpegB:cicp:systems:auxiliary:alpha)|.*alpha)/;

/**
 * Keeps the primary image of an AVIF or HEIC file: all other boxes, items of metadata and, because they are applied
 * afterwards as for every other format, rotation and mirroring are made into free space in a copy.
 * AVIF's clean aperture is not applied, as Pillow does; HEIC's is, as all viewers do.
 */
export function walkHeif(bytes: Uint8Array, type: "avif" | "heic"): Walked {
  const copy = Uint8Array.from(bytes);
  const reader = new ByteReader(copy, type.toUpperCase());
  const free = (at: number) => copy.set(Buffer.from("free", "latin1"), at);
  const warnings: ImageWarning[] = [];
  let meta: Box | undefined;
  for (const box of boxes(reader, 0, copy.length)) {
    if (box.type === "meta") meta ??= box;
    if (box.type === "moov") warnings.push(warning("later_frames_ignored"));
    if (box.type === "ftyp") hideSequence(copy, box);
    if (!/^(ftyp|meta|mdat)$/.test(box.type)) free(box.typeAt);
  }
  if (meta === undefined && warnings.length > 0) {
    throw new ModelError(
      "image_type_unsupported",
      `This is a ${reader.format} sequence without a still image: send one of its frames as JPEG.`,
    );
  }
  if (meta === undefined) throw damaged(reader.format);
  const items = itemsOf(reader, meta, free);
  const own = (items.associations.get(items.primary) ?? []).flatMap(({ index, at }) => {
    const box = items.properties[index - 1];
    return box === undefined ? [] : [{ box, at }];
  });
  const size = own.find(({ box }) => box.type === "ispe")?.box;
  if (size === undefined || !items.types.has(items.primary)) throw damaged(reader.format);
  let [width, height] = sizeOf(reader, size);
  checkTiles(reader, items, width * height);
  let [angle, mirror]: [number, number | undefined] = [0, undefined];
  let profile: Uint8Array | undefined;
  for (const { box } of own) {
    if (box.type === "irot") angle = reader.u8(box.from) & 3;
    else if (box.type === "imir") mirror = reader.u8(box.from) & 1;
    else if (box.type === "clap" && type === "heic") [width, height] = apertureOf(reader, box, width, height);
    else if (box.type === "colr" && /^(prof|rICC)$/.test(reader.text(box.from, 4))) {
      profile = reader.slice(box.from + 4, box.to - box.from - 4);
    }
  }
  hideTurns(items, free, copy, type);
  return {
    width,
    height,
    orientation: orientationOfTurn(angle, mirror),
    parts: [copy],
    samples: "rgb",
    alpha: items.hasAlpha,
    warnings: [...profileWarnings(profile), ...warnings],
  };
}

function itemsOf(reader: ByteReader, meta: Box, free: (at: number) => void): Items {
  const types = new Map<number, string>();
  const associations = new Map<number, { index: number; at: number }[]>();
  const tiles = new Map<number, number[]>();
  let properties: Box[] = [];
  let primary: number | undefined;
  for (const box of boxes(reader, meta.from + 4, meta.to)) {
    const version = () => reader.u8(box.from);
    if (box.type === "pitm") primary = version() === 0 ? reader.u16(box.from + 4) : reader.u32(box.from + 4);
    else if (box.type === "iinf") {
      const from = box.from + (version() === 0 ? 6 : 8);
      for (const entry of boxes(reader, from, box.to)) {
        const wide = reader.u8(entry.from) >= 3;
        const typeAt = entry.from + (wide ? 10 : 8);
        const itemType = reader.text(typeAt, 4);
        if (makesPixels.test(itemType))
          types.set(wide ? reader.u32(entry.from + 4) : reader.u16(entry.from + 4), itemType);
        else free(typeAt);
        if (types.size > itemsMax) throw damaged(reader.format);
      }
    } else if (box.type === "iref") readTiles(reader, box, tiles);
    else if (box.type === "iprp") {
      for (const part of boxes(reader, box.from, box.to)) {
        if (part.type === "ipco") properties = [...boxes(reader, part.from, part.to)];
        else if (part.type === "ipma") readAssociations(reader, part, associations);
      }
    }
  }
  if (primary === undefined) throw damaged(reader.format);
  const hasAlpha = properties.some(
    ({ type, from, to }) =>
      type === "auxC" && isAlpha.test(reader.text(from + 4, Math.min(64, Math.max(0, to - from - 4)))),
  );
  return { primary, types, associations, properties, tiles, hasAlpha };
}

function readTiles(reader: ByteReader, box: Box, tiles: Map<number, number[]>): void {
  const wide = reader.u8(box.from) > 0;
  const [id, step] = wide ? [(at: number) => reader.u32(at), 4] : [(at: number) => reader.u16(at), 2];
  let total = 0;
  for (const reference of boxes(reader, box.from + 4, box.to)) {
    if (reference.type !== "dimg") continue;
    const count = reader.u16(reference.from + step);
    total += count;
    if (total > itemsMax) throw damaged(reader.format);
    const first = reference.from + step + 2;
    tiles.set(
      id(reference.from),
      Array.from({ length: count }, (_, index) => id(first + index * step)),
    );
  }
}

function readAssociations(reader: ByteReader, box: Box, found: Map<number, { index: number; at: number }[]>): void {
  const wideItem = reader.u8(box.from) > 0;
  const wideIndex = (reader.u8(box.from + 3) & 1) === 1;
  const count = reader.u32(box.from + 4);
  if (count > itemsMax) throw damaged(reader.format);
  let at = box.from + 8;
  let total = 0;
  for (let item = 0; item < count; item++) {
    const id = wideItem ? reader.u32(at) : reader.u16(at);
    at += wideItem ? 4 : 2;
    const own = found.get(id) ?? [];
    const properties = reader.u8(at++);
    total += properties;
    if (total > propertiesMax) throw damaged(reader.format);
    for (let property = 0; property < properties; property++) {
      own.push({ index: wideIndex ? reader.u16(at) & 0x7fff : reader.u8(at) & 0x7f, at });
      at += wideIndex ? 2 : 1;
    }
    found.set(id, own);
  }
}

const sizeOf = (reader: ByteReader, { from }: Box): [width: number, height: number] => {
  const [width, height] = [reader.u32(from + 4), reader.u32(from + 8)];
  if (width === 0 || height === 0) throw damaged(reader.format);
  return [width, height];
};

/** A grid can name one tile, of any size, thousands of times. What is decoded must be in proportion to what is shown. */
function checkTiles(reader: ByteReader, items: Items, pixels: number): void {
  let decoded = 0;
  const sizes = new Map<number, number>();
  for (const tile of items.tiles.get(items.primary) ?? []) {
    let area = sizes.get(tile);
    if (area === undefined) {
      const size = items.associations
        .get(tile)
        ?.map(({ index }) => items.properties[index - 1])
        .find((box) => box?.type === "ispe");
      if (size === undefined) throw damaged(reader.format);
      const [width, height] = sizeOf(reader, size);
      area = width * height;
      sizes.set(tile, area);
    }
    decoded += area;
  }
  if (decoded > Math.max(tilePixelsAlways, tilePixelsPerPixelMax * pixels)) throw damaged(reader.format);
}

/** The size of a clean aperture, which is centred but for its offsets. */
function apertureOf(reader: ByteReader, { from }: Box, width: number, height: number): [number, number] {
  const side = (at: number, most: number) => {
    const value = Math.trunc(reader.u32(at) / Math.max(1, reader.u32(at + 4)));
    return value >= 1 && value <= most ? value : most;
  };
  return [side(from, width), side(from + 8, height)];
}

/** Makes the turns' properties free space, and the claim that a reader must understand them untrue. */
function hideTurns(items: Items, free: (at: number) => void, bytes: Uint8Array, type: "avif" | "heic"): void {
  const hidden = type === "avif" ? /^(irot|imir|clap)$/ : /^(irot|imir)$/;
  for (const own of items.associations.values()) {
    for (const { index, at } of own) {
      const box = items.properties[index - 1];
      if (box !== undefined && hidden.test(box.type)) bytes[at] = (bytes[at] as number) & 0x7f;
    }
  }
  for (const { type: property, typeAt } of items.properties) if (hidden.test(property)) free(typeAt);
}

/** irot turns counter-clockwise in quarters; imir, which is applied after it, mirrors top to bottom or left to right. */
function orientationOfTurn(angle: number, mirror: number | undefined): Orientation {
  const table: readonly (readonly [plain: Orientation, topToBottom: Orientation, leftToRight: Orientation])[] = [
    [1, 4, 2],
    [8, 5, 7],
    [3, 2, 4],
    [6, 7, 5],
  ];
  return (table[angle] as (typeof table)[number])[mirror === undefined ? 0 : mirror === 0 ? 1 : 2] as Orientation;
}
