/** What can have been done to an image on the way to its pixels. The codes are stable and reach users. */
export type ImageWarningCode =
  | "later_frames_ignored"
  | "alpha_dropped"
  | "grey_scaled"
  | "values_clipped"
  | "orientation_applied"
  | "cmyk_converted"
  | "profile_ignored";

/** Something that was done to an image and could surprise; `message` is one sentence for users. */
export interface ImageWarning {
  readonly code: ImageWarningCode;
  readonly message: string;
}

/** A message is the same for every image, but for the numbers in it. */
const messages = {
  later_frames_ignored: () => "The file holds several images: only the first was read.",
  alpha_dropped: () =>
    "Some pixels are transparent: their stored colours were read as if they were not. Set a background to see them on it.",
  grey_scaled: (bits: number) => `The 16-bit grey values use ${bits} bits only and were scaled by that range.`,
  values_clipped: () => "Grey values outside 0 to 255 were clipped.",
  orientation_applied: (orientation: number) =>
    `The image was turned upright, as its orientation ${orientation} of 8 says.`,
  cmyk_converted: () => "CMYK inks were converted to RGB without a colour profile.",
  profile_ignored: () => "The file's colour profile is not sRGB and was ignored.",
} satisfies Record<ImageWarningCode, (detail: never) => string>;

export function warning<C extends ImageWarningCode>(
  code: C,
  ...detail: Parameters<(typeof messages)[C]>
): ImageWarning {
  const message = messages[code] as (...detail: unknown[]) => string;
  return { code, message: message(...detail) };
}
