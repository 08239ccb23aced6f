/** Each channel from 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** [N, 3], and whether pixels that are not opaque lost their transparency on the way. */
export interface Rgb {
  readonly rgb: Uint8Array;
  readonly hidAlpha: boolean;
}

export const opaque = (rgb: Uint8Array): Rgb => ({ rgb, hidAlpha: false });

/** A product of bytes divided by 255 and rounded, without a division. */
const by255 = (product: number) => (product + 128 + ((product + 128) >> 8)) >> 8;

/** [N, 4] ink to [N, 3] light, as Pillow computes it: what the black leaves, less each ink's share of that. */
export function rgbOfCmyk(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - (cmyk[from + 3] as number);
    for (let ink = 0; ink < 3; ink++) rgb[to++] = light - by255((cmyk[from + ink] as number) * light);
  }
  return rgb;
}

/** The upper 8 of each 16 bits. */
export function upperBytes(values: Uint16Array): Uint8Array {
  return Uint8Array.from(values, (value) => value >> 8);
}

/** [N, 4] to [N, 3]: alpha is dropped, or where there is a background, blended with it as Pillow's paste does. */
export function rgbOfRgba(rgba: Uint8Array, background: Colour | undefined): Rgb {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  if (background) {
    for (let from = 0, to = 0; from < rgba.length; from += 4) {
      const alpha = rgba[from + 3] as number;
      for (let channel = 0; channel < 3; channel++) {
        const behind = (background[channel] as number) * (255 - alpha);
        rgb[to++] = by255((rgba[from + channel] as number) * alpha + behind);
      }
    }
    return opaque(rgb);
  }
  // All of them together: 255 only if each is.
  let alphas = 255;
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from] as number;
    rgb[to++] = rgba[from + 1] as number;
    rgb[to++] = rgba[from + 2] as number;
    alphas &= rgba[from + 3] as number;
  }
  return { rgb, hidAlpha: alphas !== 255 };
}

/** [N] palette indices to [N, 3]. */
export function rgbOfIndices(
  indices: Uint8Array,
  { colours, transparent }: { readonly colours: Uint8Array; readonly transparent: number | undefined },
  background: Colour | undefined,
): Rgb {
  const table = Uint8Array.from(colours);
  if (background && transparent !== undefined) table.set(background, transparent * 3);
  const rgb = new Uint8Array(indices.length * 3);
  let hidAlpha = false;
  for (let from = 0, to = 0; from < indices.length; from++) {
    const index = indices[from] as number;
    hidAlpha ||= index === transparent && background === undefined;
    rgb[to++] = table[index * 3] as number;
    rgb[to++] = table[index * 3 + 1] as number;
    rgb[to++] = table[index * 3 + 2] as number;
  }
  return { rgb, hidAlpha };
}

/** [N] to [N, 3] */
export function rgbOfGrey(grey: ArrayLike<number>): Uint8Array {
  const rgb = new Uint8Array(grey.length * 3);
  for (let from = 0, to = 0; from < grey.length; from++) {
    const value = grey[from] as number;
    rgb[to++] = value;
    rgb[to++] = value;
    rgb[to++] = value;
  }
  return rgb;
}

// Values that leave two of 16 bits empty come from a sensor of fewer bits: a photograph of all 16 uses its upper half.
const emptyBitsMin = 2;

/**
 * [N] 16-bit grey to 8 bits: the upper 8, or where the upper bits are empty, the upper 8 of those that are used.
 * bits: how many were taken for the range.
 */
export function grey8Of16(values: Uint16Array): { grey: Uint8Array; bits: number } {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  const used = 32 - Math.clz32(most);
  const bits = most === 0 || used > 16 - emptyBitsMin ? 16 : Math.max(8, used);
  return { grey: Uint8Array.from(values, (value) => value >> (bits - 8)), bits };
}

/** [N] numbers to 8 bits, clipped at 0 and 255 and cut to whole numbers. */
export function clippedGrey(values: Float32Array): { grey: Uint8Array; clipped: boolean } {
  let clipped = false;
  const grey = Uint8Array.from(values, (value) => {
    clipped ||= !(value >= 0 && value < 256);
    return value >= 255 ? 255 : Math.max(0, value);
  });
  return { grey, clipped };
}

/** A frame's samples on a canvas of `fill`. [frame.height, frame.width, channels] -> [height, width, channels] */
export function onCanvas(
  samples: Uint8Array,
  frame: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
  canvas: { readonly width: number; readonly height: number; readonly channels: number; readonly fill: number },
): Uint8Array {
  const { width, height, channels, fill } = canvas;
  const out = new Uint8Array(width * height * channels).fill(fill);
  for (let y = 0; y < frame.height; y++) {
    const from = y * frame.width * channels;
    const row = samples.subarray(from, from + frame.width * channels);
    out.set(row, ((frame.top + y) * width + frame.left) * channels);
  }
  return out;
}
