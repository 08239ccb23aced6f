import type { Colour } from "./pixels.ts";

/** How people write a colour: #rrggbb. The # may be left out, because an address takes it for its fragment's. */
export const colourPattern = /^#?[0-9a-fA-F]{6}$/;

/** The colour that a text says; undefined where it is none. */
export function parseColour(text: string): Colour | undefined {
  if (!colourPattern.test(text)) return undefined;
  const number = Number.parseInt(text.replace("#", ""), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
