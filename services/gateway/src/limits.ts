const MiB = 1024 * 1024;

/** Every bound of the gateway. All are configurable; the defaults say why they are what they are. */
export interface Limits {
  /** Largest image file, bytes. */
  readonly uploadBytesMax: number;
  /** What a JSON or multipart body may hold beside its image, bytes. */
  readonly bodyOverheadBytesMax: number;
  /** Bytes of all bodies and fetched images held at one time. */
  readonly heldBytesMax: number;
  /** Requests whose bodies are being received at one time. */
  readonly uploadsMax: number;
  /** What a body must bring on average, bytes a second, after its first second. 0: nothing. */
  readonly bodyBytesPerSecondMin: number;
  /** Of places, bodies and bytes, what one caller may have while others may want some, percent. */
  readonly callerSharePercent: number;
  /** Requests served at one time. */
  readonly requestsMax: number;
  /** Requests that may wait for one of those places. */
  readonly queueMax: number;
  /** Tasks in one call. */
  readonly tasksMax: number;
  /** Characters of one task's text, classes joined. */
  readonly textCharactersMax: number;
  /** Tokens that a caller may ask for in one answer. */
  readonly newTokensMax: number;
  /** Beams that a caller may ask for. */
  readonly beamsMax: number;
  /** From the first byte of a request to the last of its answer, milliseconds. */
  readonly deadlineMs: number;
  /** Fetching an image from a URL, redirects included, milliseconds. */
  readonly urlFetchMs: number;
  /** Redirects followed for one image. */
  readonly urlRedirectsMax: number;
}

export const defaultLimits: Limits = {
  // A 24-megapixel JPEG is about 10 MiB.
  uploadBytesMax: 16 * MiB,
  // 32 texts of 2,000 characters are 375 KiB even when every character is written as a six-byte escape.
  bodyOverheadBytesMax: 1 * MiB,
  // An image may stand in memory up to three times (body, decoded, gRPC message), so this is about 0.8 GiB at worst.
  heldBytesMax: 256 * MiB,
  // Senders hold no place, so there may be more of them. Each costs a socket and 64 KiB; heldBytesMax bounds the rest.
  uploadsMax: 1024,
  // The slowest mobile network, 32 kbit/s. Who sends less holds an upload for nothing.
  bodyBytesPerSecondMin: 4096,
  // A quarter is enough for everybody else to be served, and a proxy that all calls come through hardly misses it.
  callerSharePercent: 75,
  // Most requests wait for the encoder and decoder, which have their own, tighter admission.
  requestsMax: 256,
  // A short burst waits; anything longer is told to come back.
  queueMax: 64,
  // Twice the task table; one call fills the decoder's batch and no more.
  tasksMax: 32,
  // The text encoder's position table ends at about 450 tokens beside the image.
  textCharactersMax: 2000,
  // The decoder's position table.
  newTokensMax: 1024,
  // Each beam is a slot of the decoder's batch.
  beamsMax: 5,
  // Longer than the slowest answer on a CPU (1,024 tokens), shorter than the patience of common proxies.
  deadlineMs: 60_000,
  // A server that needs longer for 16 MiB is better downloaded by the client.
  urlFetchMs: 10_000,
  // http -> https, apex -> www, and one signed storage address.
  urlRedirectsMax: 3,
};
