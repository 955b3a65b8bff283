/** `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests"). */

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
const DIGITS_8 = 99_999_999;

/** Encodes what is left of a deadline, in milliseconds, rounded up to its unit. */
export function encodeTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole !== encodedMs) {
    encoded = textOf(whole);
    encodedMs = whole;
  }
  return encoded;
}

/** The last one, which is mostly the next one too. */
let encodedMs = 0;
let encoded = '';

function textOf(whole: number): string {
  if (whole <= DIGITS_8) return `${whole}m`;
  const seconds = Math.ceil(whole / 1000);
  if (seconds <= DIGITS_8) return `${seconds}S`;
  return `${Math.min(DIGITS_8, Math.ceil(seconds / 3600))}H`;
}

/** Milliseconds, possibly a fraction; undefined when the text is not a timeout. */
export function parseTimeout(text: string): number | undefined {
  if (!/^\d{1,8}[HMSmun]$/.test(text)) return undefined;
  return Number(text.slice(0, -1)) * UNITS[text.at(-1)!]!;
}
