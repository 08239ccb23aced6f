import sharp from "sharp";

export type Color = readonly [red: number, green: number, blue: number];
export type Point = readonly [x: number, y: number];

/** An image that can be drawn on. */
export class Canvas {
  readonly width: number;
  readonly height: number;
  readonly #rgb: Uint8Array; // [height, width, 3]

  constructor(width: number, height: number, rgb: Uint8Array) {
    this.width = width;
    this.height = height;
    this.#rgb = rgb;
  }

  /** An anti-aliased line of `thickness` pixels. */
  line(from: Point, to: Point, thickness: number, color: Color): void {
    const reach = thickness / 2 + 1;
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const length = dx * dx + dy * dy || 1;
    const rows = span(from[1], to[1], reach, this.height);
    const columns = span(from[0], to[0], reach, this.width);
    for (let y = rows.first; y <= rows.last; y++) {
      for (let x = columns.first; x <= columns.last; x++) {
        const along = Math.max(0, Math.min(1, ((x - from[0]) * dx + (y - from[1]) * dy) / length));
        const distance = Math.hypot(x - from[0] - along * dx, y - from[1] - along * dy);
        this.#blend(x, y, color, thickness / 2 + 0.5 - distance);
      }
    }
  }

  /** A closed outline. */
  outline(points: readonly Point[], thickness: number, color: Color): void {
    for (const [i, point] of points.entries())
      this.line(point, points[(i + 1) % points.length] as Point, thickness, color);
  }

  /** A line of text on a coloured ground, its lower left corner at (x, y) where there is room. */
  async label(text: string, x: number, y: number, pixels: number, ground: Color): Promise<void> {
    const ink = await renderText(text, pixels);
    if (!ink.alpha.some((coverage) => coverage > 0)) return; // a machine without fonts: no empty plates
    const margin = Math.ceil(pixels / 5);
    const [width, height] = [ink.width + 2 * margin, ink.height + 2 * margin];
    const left = Math.max(0, Math.min(this.width - width, Math.round(x)));
    const top = Math.max(0, Math.min(this.height - height, Math.round(y) - height));
    const color: Color = 0.3 * ground[0] + 0.6 * ground[1] + 0.1 * ground[2] > 140 ? [0, 0, 0] : [255, 255, 255];
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) this.#blend(left + column, top + row, ground, 0.85);
    for (let row = 0; row < ink.height; row++) {
      for (let column = 0; column < ink.width; column++) {
        this.#blend(
          left + margin + column,
          top + margin + row,
          color,
          (ink.alpha[row * ink.width + column] as number) / 255,
        );
      }
    }
  }

  async save(file: string): Promise<void> {
    const { width, height } = this;
    await sharp(this.#rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(file);
  }

  #blend(x: number, y: number, color: Color, opacity: number): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height || opacity <= 0) return;
    const share = Math.min(1, opacity);
    const at = 3 * (y * this.width + x);
    for (let c = 0; c < 3; c++)
      this.#rgb[at + c] = Math.round((this.#rgb[at + c] as number) * (1 - share) + (color[c] as number) * share);
  }
}

function span(a: number, b: number, reach: number, size: number): { first: number; last: number } {
  return {
    first: Math.max(0, Math.floor(Math.min(a, b) - reach)),
    last: Math.min(size - 1, Math.ceil(Math.max(a, b) + reach)),
  };
}

/** A text's coverage, one byte a pixel. */
async function renderText(text: string, pixels: number): Promise<{ width: number; height: number; alpha: Uint8Array }> {
  // Pango reads markup: what a model says must not become any.
  const plain = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const image = sharp({ text: { text: plain, font: `sans ${Math.round(pixels)}`, dpi: 72 } });
  const { data, info } = await image.extractChannel(0).raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, alpha: data };
}
