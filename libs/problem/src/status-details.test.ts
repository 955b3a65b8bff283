import { describe, expect, it } from 'vitest';
import {
  decodeStatusDetails,
  encodeStatusDetails,
  Problem,
  problemFromStatus,
  problems,
  toProblemDocument,
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

it('every problem has a status that its gRPC code allows', () => {
  for (const [code, kind] of Object.entries(problems)) {
    expect(kind.status, code).toBeGreaterThanOrEqual(400);
    expect(kind.title, code).not.toBe('');
  }
});
