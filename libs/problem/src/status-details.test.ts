import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { describe, expect, it } from 'vitest';
import {
  decodeStatusDetails,
  encodeStatusDetails,
  Problem,
  problemFromStatus,
  problems,
  toProblemDocument,
  toStatusDocument,
} from './index.js';

describe('a problem through gRPC', () => {
  const problem = new Problem('BUDGET_EXHAUSTED', 'No node has 10 tokens left.', {
    details: { blocked_by: 'budget', retry_after_ms: 1200, nodes: ['n1', 'n2'] },
  });

  it('comes back with code, text and details', () => {
    const back = problemFromStatus(8, problem.message, encodeStatusDetails(problem));
    expect(toProblemDocument(back, 'abc')).toEqual(toProblemDocument(problem, 'abc'));
    expect(back.status).toBe(429);
  });

  it('does not believe a code that contradicts the status', () => {
    expect(problemFromStatus(5, 'gone', encodeStatusDetails(problem)).code).toBe('NOT_FOUND');
  });

  it('hides the text of failures that speak of the inside', () => {
    const hidden = problemFromStatus(13, 'at /srv/app/db.ts:12 connect ECONNREFUSED');
    expect(hidden.message).toBe('');
    expect(hidden.cause).toContain('ECONNREFUSED');
  });

  it.each([[new Uint8Array([0xff])], [new Uint8Array([0x1a, 0x7f])], [new Uint8Array([0x12, 0x02, 0x41])]])(
    'does not fail on garbage %#',
    (bytes) => {
      expect(decodeStatusDetails(bytes)).toBeUndefined();
      expect(problemFromStatus(3, 'bad', bytes).code).toBe('INVALID_ARGUMENT');
    },
  );

  it('maps numbers outside the list, and OK, to UNKNOWN', () => {
    expect(problemFromStatus(99, '').code).toBe('UNKNOWN');
    expect(problemFromStatus(0, '').code).toBe('UNKNOWN');
  });
});

/** A `google.rpc.Status` whose only parts are details. */
function statusWith(...details: readonly (readonly [string, readonly number[]])[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [type, value] of details) {
    const any = new BinaryWriter();
    any.tag(1, WireType.LengthDelimited).string(`type.googleapis.com/google.rpc.${type}`);
    any.tag(2, WireType.LengthDelimited).bytes(Uint8Array.from(value));
    writer.tag(3, WireType.LengthDelimited).bytes(any.finish());
  }
  return writer.finish();
}

describe('details that are not ours', () => {
  const printDetail = ({ typeUrl }: { typeUrl: string }) => typeUrl;
  const names = (problem: Problem) => problem.errors.map((one) => String(one).replace(/.*\./, ''));

  it('are errors of the problem, but for what speaks of the inside', () => {
    const details = statusWith(['Help', []], ['DebugInfo', []]);
    expect(names(problemFromStatus(3, '', details, { printDetail }))).toEqual(['Help']);
    expect(names(problemFromStatus(13, '', details, { printDetail }))).toEqual([]);
    expect(names(problemFromStatus(13, '', details, { printDetail, expose: 'text' }))).toEqual([]);
    expect(names(problemFromStatus(13, '', details, { printDetail, expose: 'all' }))).toEqual(['Help', 'DebugInfo']);
  });

  it('stand beside a code of ours that came with them', () => {
    const ours = encodeStatusDetails(new Problem('BUDGET_EXHAUSTED', 'none'));
    const both = problemFromStatus(8, 'none', Buffer.concat([ours, statusWith(['Help', []])]), { printDetail });
    expect(both.code).toBe('BUDGET_EXHAUSTED');
    expect(toStatusDocument(both)).toMatchObject({ details: [{ reason: 'BUDGET_EXHAUSTED' }, expect.any(String)] });
  });

  it.each([
    ['two and a half seconds', [10, 8, 8, 2, 16, 128, 202, 181, 238, 1], 2500],
    ['nothing', [], undefined],
    ['an empty duration', [10, 0], undefined],
    ['a negative one', [10, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], undefined],
    ['garbage', [10, 200], undefined],
  ])('RetryInfo with %s', (_, value, wait) => {
    expect(problemFromStatus(14, '', statusWith(['RetryInfo', value])).details['retry_after_ms']).toBe(wait);
  });

  it('the message in them counts when there is no other', () => {
    const message = [0x12, 2, 0x6e, 0x6f];
    expect(problemFromStatus(3, '', Uint8Array.from(message)).message).toBe('no');
    expect(problemFromStatus(3, 'never', Uint8Array.from(message)).message).toBe('never');
  });

  it('an ErrorInfo that cannot be read spoils no other', () => {
    const details = statusWith(['ErrorInfo', [10, 200]], ['Help', []]);
    expect(names(problemFromStatus(3, '', details, { printDetail }))).toEqual(['ErrorInfo', 'Help']);
  });
});

it('every problem has a status that its gRPC code allows', () => {
  for (const [code, kind] of Object.entries(problems)) {
    expect(kind.status, code).toBeGreaterThanOrEqual(400);
    expect(kind.title, code).not.toBe('');
  }
});
