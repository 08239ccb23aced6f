import { type ImageWarning, warning } from "./warnings.ts";

// The description stands near the start of a profile. A monitor's profile with large tables can have megabytes.
const profileBytesSearched = 8192;

/**
 * Colour profiles are never applied. This says so where it could be seen: a profile other than sRGB, told by its
 * description (ASCII, or UTF-16 in version 4), moves colours.
 */
export function profileWarnings(profile: Uint8Array | undefined): ImageWarning[] {
  if (profile === undefined) return [];
  const start = Buffer.from(profile.buffer, profile.byteOffset, Math.min(profile.length, profileBytesSearched));
  // A grey profile has no colours to move.
  const grey = start.toString("latin1", 16, 20) === "GRAY";
  const isSrgb = /s\0?R\0?G\0?B/.test(start.toString("latin1"));
  return grey || isSrgb ? [] : [warning("profile_ignored")];
}
