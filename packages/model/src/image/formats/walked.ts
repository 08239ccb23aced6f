import type { Orientation } from "../orientation.ts";
import type { ImageWarning } from "../warnings.ts";

/** Where a frame lies on its canvas, in pixels. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** What the decoder is asked for: colours; 16-bit grey; grey of any other number, to be clipped to 0..255; or inks. */
export type Samples = "rgb" | "grey16" | "grey-clipped" | "cmyk" | "cmyk16";

/**
 * What a walk over a file's structure finds, without decoding a pixel. A walk is bounded: it takes time in proportion
 * to the file's bytes at the most, and throws nothing but ModelError.
 */
export interface Walked {
  /** The image's size as it is stored, before it is turned upright. */
  readonly width: number;
  readonly height: number;
  readonly orientation: Orientation;
  /** Joined, they are a file of the first image alone, without anything that pixels do not need. */
  readonly parts: readonly Uint8Array[];
  readonly samples: Samples;
  /** Whether the decoder gives an alpha channel beside the colours, which are not multiplied by it. */
  readonly alpha: boolean;
  /** The part of the canvas that the decoded pixels cover, if they do not cover it all. */
  readonly frame?: Frame;
  readonly warnings: readonly ImageWarning[];
}
