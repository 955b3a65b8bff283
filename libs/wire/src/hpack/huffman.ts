/**
 * The static Huffman code of HPACK (RFC 7541 §5.2 and Appendix B).
 *
 * The code is canonical: codes of one length are consecutive in the order of their symbols, and a longer code starts
 * where the shorter ones end. The lengths are therefore the whole table. Decoding walks a state machine that consumes
 * four bits at a step; a step yields at most one symbol, for the shortest code has five bits.
 */
import { CompressionError } from './compression-error.js';
import { readLatin1 } from './latin1.js';

/** Bits of the code of each octet, 0 to 255, as one base-36 digit each. */
const LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq';
const EOS = 256;
const EOS_BITS = 30;

/** The codes and their lengths by symbol, EOS included. */
function canonicalCodes(): { code: Uint32Array; bits: Uint8Array } {
  const bits = new Uint8Array(EOS + 1);
  for (let symbol = 0; symbol < EOS; symbol++) bits[symbol] = parseInt(LENGTHS[symbol]!, 36);
  bits[EOS] = EOS_BITS;
  const code = new Uint32Array(EOS + 1);
  let next = 0;
  for (let length = 1; length <= EOS_BITS; length++) {
    next *= 2;
    for (let symbol = 0; symbol <= EOS; symbol++) if (bits[symbol] === length) code[symbol] = next++;
  }
  return { code, bits };
}

const { code: CODE, bits: BITS } = canonicalCodes();

/*
 * Each state is an inner node of the code tree. STEP[state * 16 + nibble] holds the next state, and above bit 16 the
 * symbol completed on the way plus one (0: none). FAILED marks a path through EOS. ACCEPTED[state] says that ending
 * there is legal padding: at most seven bits, all ones (§5.2).
 */
const FAILED = 0xffff;
const { STEP, ACCEPTED } = stateMachine();

function stateMachine(): { STEP: Uint32Array; ACCEPTED: Uint8Array } {
  // children[node * 2 + bit]: a node's number, or -(symbol + 1) for a leaf.
  const children: number[] = [0, 0];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let at = BITS[symbol]! - 1; at >= 0; at--) {
      const slot = node * 2 + ((CODE[symbol]! >>> at) & 1);
      if (at === 0) children[slot] = -(symbol + 1);
      else {
        if (children[slot] === 0) {
          children[slot] = children.length / 2;
          children.push(0, 0);
        }
        node = children[slot]!;
      }
    }
  }
  const states = children.length / 2;
  const step = new Uint32Array(states * 16);
  for (let state = 0; state < states; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let emitted = 0;
      for (let at = 3; at >= 0 && node !== FAILED; at--) {
        const child = children[node * 2 + ((nibble >>> at) & 1)]!;
        if (child >= 0) node = child;
        else if (child === -(EOS + 1)) node = FAILED;
        else {
          emitted = -child;
          node = 0;
        }
      }
      step[state * 16 + nibble] = node | (emitted << 16);
    }
  }
  const accepted = new Uint8Array(states);
  for (let node = 0, ones = 0; ones <= 7; ones++) {
    accepted[node] = 1;
    node = children[node * 2 + 1]!;
  }
  return { STEP: step, ACCEPTED: accepted };
}

let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * Decodes `source[start, end)` to a latin1 string.
 * @throws CompressionError on EOS, or on padding that is too long or not all ones (§5.2).
 */
export function huffmanDecode(source: Uint8Array, start: number, end: number): string {
  const most = ((end - start) * 8) / 5 + 1;
  if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most * 2);
  const out = scratch;
  let length = 0;
  let state = 0;
  for (let at = start; at < end; at++) {
    const octet = source[at]!;
    let move = STEP[(state << 4) | (octet >>> 4)]!;
    if (move > 0xffff) out[length++] = (move >>> 16) - 1;
    state = move & 0xffff;
    if (state === FAILED) throw new CompressionError('the Huffman code of EOS inside a string');
    move = STEP[(state << 4) | (octet & 15)]!;
    if (move > 0xffff) out[length++] = (move >>> 16) - 1;
    state = move & 0xffff;
    if (state === FAILED) throw new CompressionError('the Huffman code of EOS inside a string');
  }
  if (ACCEPTED[state] !== 1) throw new CompressionError('illegal padding of a Huffman-coded string');
  return readLatin1(out, 0, length);
}

/** Octets that `text` (latin1) takes when Huffman-coded. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length; at++) bits += BITS[text.charCodeAt(at) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Writes `text` (latin1) Huffman-coded and padded with ones; returns the offset after it. */
export function huffmanEncode(text: string, target: Uint8Array, at: number): number {
  let held = 0;
  let heldBits = 0;
  for (let index = 0; index < text.length; index++) {
    const symbol = text.charCodeAt(index) & 0xff;
    let left = BITS[symbol]!;
    const code = CODE[symbol]!;
    while (left > 0) {
      const take = Math.min(left, 8 - heldBits);
      held = (held << take) | ((code >>> (left - take)) & ((1 << take) - 1));
      heldBits += take;
      left -= take;
      if (heldBits === 8) {
        target[at++] = held;
        held = 0;
        heldBits = 0;
      }
    }
  }
  if (heldBits > 0) target[at++] = (held << (8 - heldBits)) | (0xff >>> heldBits);
  return at;
}
