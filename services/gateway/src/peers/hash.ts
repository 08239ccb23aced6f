/**
 * 32 well mixed bits of a text: FNV-1a, then the finaliser of MurmurHash3, without which texts that differ in their last character only
 * get numbers that differ little. Fit for sharing out, not against who wants to choose its outcome.
 */
export function hash32(text: string): number {
  let bits = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) bits = Math.imul(bits ^ text.charCodeAt(i), 0x01000193);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
