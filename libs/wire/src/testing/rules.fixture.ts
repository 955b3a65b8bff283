/**
 * Rules of RFC 9113 and RFC 7541 as rows: what a client sends, and what must come of it. Each is tried three ways: all at once
 * before the server's SETTINGS were seen; after the handshake, a frame at a time; and so against a server whose answer to
 * every request is complete before the request is.
 */
import { describe, expect, it } from 'vitest';
import type { Field, Fields } from '../fields.js';
import { ErrorCode } from '../http2/errors.js';
import { Flag, FrameType } from '../http2/frames.js';
import type { ServerStream } from '../server/server-stream.js';
import { timersSet } from '../timers/wheel.js';
import * as f from './frames.js';
import type { PeerConnection, SeenFrame } from './scripted-peer.js';
import { echo, Served } from './served.js';

/** What a client sends and what must come of it: one of the outcomes. */
export interface Rule {
  readonly sends: readonly Buffer[];
  /** A stream error: RST_STREAM with this code. */
  readonly reset?: number;
  /** A connection error: GOAWAY with this code, and the connection is closed. */
  readonly goaway?: number;
  /** A response with this status. */
  readonly status?: string;
  /** The connection goes on: it answers PING, and no GOAWAY has come. */
  readonly goesOn?: boolean;
  /** The stream that `reset` and `status` speak of; 1 without it. */
  readonly on?: number;
  /** Requests are not answered, so that their streams stay half-closed. */
  readonly unanswered?: boolean;
  /** The status when earlier requests were answered at once: what is wrong otherwise is not then. */
  readonly statusWhenAnswered?: string;
}

export type Rules = Readonly<Record<string, Rule>>;

export const GET: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
];
export const POST: Fields = [[':method', 'POST'], ...GET.slice(1)];
export const get = (id = 1, more: Fields = []): Buffer => f.headers(id, [...GET, ...more], true);
export const post = (id = 1, more: Fields = []): Buffer => f.headers(id, [...POST, ...more]);
/** A request whose header block is given in octets. */
export const encoded = (...block: readonly (Uint8Array | readonly number[])[]): Buffer =>
  f.frame(
    FrameType.HEADERS,
    Flag.END_HEADERS | Flag.END_STREAM,
    1,
    Buffer.concat(block.map((part) => Buffer.from(part))),
  );
export const malformed = (fields: Fields): Rule => ({
  sends: [f.headers(1, fields, true)],
  reset: ErrorCode.PROTOCOL_ERROR,
});
export const withField = (...more: Field[]): Rule => malformed([...GET, ...more]);

const LIMITS = { maxConcurrentStreams: 3, maxHeaderListBytes: 4096 };

/** Answers whatever comes, before it has come whole. */
function answerAtOnce(stream: ServerStream): void {
  stream.respond(200, []);
  stream.write(Buffer.from('early'));
  stream.end();
}

export function tryRules(title: string, rules: Rules): void {
  describe(`${title}, at once`, () => {
    for (const [name, rule] of Object.entries(rules)) {
      it(`${name}`, () =>
        withServer(rule.unanswered === true ? () => {} : echo, async (served) => {
          const peer = served.connect();
          peer.send(...rule.sends);
          await expectOutcome(peer, rule);
        }));
    }
  });
  describe(`${title}, frame by frame after the handshake`, () => {
    for (const [name, rule] of Object.entries(rules)) {
      it(`${name}`, () =>
        withServer(rule.unanswered === true ? () => {} : echo, async (served) => {
          await expectOutcome(await frameByFrame(served, rule), rule);
        }));
    }
  });
  describe(`${title}, answering at once`, () => {
    for (const [name, rule] of Object.entries(rules)) {
      it(`${name}`, () =>
        withServer(answerAtOnce, async (served) => {
          const peer = await frameByFrame(served, rule);
          // A stream that is closed by now makes a connection error of what would be an error of the stream.
          if (rule.statusWhenAnswered !== undefined)
            return expectOutcome(peer, { sends: [], on: rule.on, status: rule.statusWhenAnswered });
          if (rule.reset === undefined) return expectOutcome(peer, rule);
          return void (await peer.see((frame) => isError(frame) && frame.code === rule.reset));
        }));
    }
  });
}

async function withServer(
  handler: (stream: ServerStream) => void,
  run: (served: Served) => Promise<void>,
): Promise<void> {
  const served = await Served.start(handler, LIMITS);
  try {
    await run(served);
  } finally {
    await served.close();
  }
  expect(served.server.counters).toMatchObject({ open: 0, streams: 0 });
  expect(timersSet()).toBe(0);
}

async function frameByFrame(served: Served, rule: Rule): Promise<PeerConnection> {
  const peer = served.connect();
  await peer.see(({ type, flags }) => type === FrameType.SETTINGS && flags === 0);
  await peer.see(({ type, flags }) => type === FrameType.SETTINGS && flags === Flag.ACK);
  for (const frame of [f.settingsAck, ...rule.sends]) {
    peer.send(frame);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return peer;
}

const isError = ({ type }: SeenFrame): boolean => type === FrameType.RST_STREAM || type === FrameType.GOAWAY;

async function expectOutcome(peer: PeerConnection, rule: Rule): Promise<void> {
  const stream = rule.on ?? 1;
  if (rule.goaway !== undefined) {
    expect(await peer.seeType(FrameType.GOAWAY)).toMatchObject({ code: rule.goaway });
    await peer.closed;
  }
  if (rule.reset !== undefined)
    expect(await peer.seeType(FrameType.RST_STREAM, stream)).toMatchObject({ code: rule.reset });
  if (rule.status !== undefined) {
    const response = await peer.seeType(FrameType.HEADERS, stream);
    expect(response.fields![0]).toEqual([':status', rule.status]);
  }
  if (rule.goesOn === true) {
    const octets = Buffer.from('goes on?');
    peer.send(f.frame(FrameType.PING, 0, 0, octets));
    await peer.see(
      ({ type, flags, payload }) => type === FrameType.PING && flags === Flag.ACK && payload.equals(octets),
    );
    expect(peer.frames.filter(({ type }) => type === FrameType.GOAWAY)).toEqual([]);
  }
}
