import { expect, test } from 'vitest';
import { LogOutput } from './log-output.js';

/** A disk with room for so many octets, which can grow. */
function disk(room: number, code = 'ENOSPC') {
  let text = '';
  const state = {
    room,
    write(octets: Buffer, from: number) {
      const taken = Math.min(state.room, octets.length - from);
      if (taken === 0) throw Object.assign(new Error(code), { code });
      state.room -= taken;
      text += octets.toString('utf8', from, from + taken);
      return taken;
    },
    get lines() {
      return text.split('\n').filter(Boolean);
    },
  };
  return state;
}
const say = (output: LogOutput, ...lines: string[]) => {
  for (const line of lines) output.write(`{"msg":"${line}"}\n`);
  output.flush();
};

test('a full disk costs lines, which are counted and told when there is room again', () => {
  const full = disk(24);
  const output = new LogOutput(full.write);
  say(output, 'one');
  say(output, 'two', 'three');
  say(output, 'four');
  expect(Object.fromEntries(output.dropped)).toEqual({ ENOSPC: 3 });
  full.room = 1000;
  say(output, 'five');
  say(output, 'six');
  expect(full.lines[0]).toBe('{"msg":"one"}');
  // What was torn ends before the next line begins.
  expect(full.lines[1]).toBe('{"msg":"tw');
  expect(JSON.parse(full.lines[2]!)).toMatchObject({ level: 'warn', dropped: 3, since_start: { ENOSPC: 3 } });
  expect(full.lines.slice(3)).toEqual(['{"msg":"five"}', '{"msg":"six"}']);
});

test('losses are not forgotten when the note of them is lost as well', () => {
  const full = disk(0, 'EPIPE');
  const output = new LogOutput(full.write);
  say(output, 'one');
  full.room = 10;
  say(output, 'two');
  full.room = 0;
  say(output, 'three');
  full.room = 1000;
  say(output, 'four');
  expect(JSON.parse(full.lines.at(-2)!)).toMatchObject({ dropped: 3, since_start: { EPIPE: 3 } });
  expect(full.lines.at(-1)).toBe('{"msg":"four"}');
});

test('a reader that is slow is waited for, and one that stands still is not waited for twice', () => {
  let tries = 0;
  let patience = 3;
  const output = new LogOutput((octets, from) => {
    if (tries++ < patience) throw Object.assign(new Error('again'), { code: 'EAGAIN' });
    return octets.length - from;
  });
  say(output, 'slow');
  expect(output.dropped.size).toBe(0);
  patience = Infinity;
  const since = performance.now();
  say(output, 'lost');
  const waited = performance.now() - since;
  for (let line = 0; line < 100; line++) say(output, 'lost too');
  expect(performance.now() - since).toBeLessThan(2 * waited + 1000);
  expect(Object.fromEntries(output.dropped)).toEqual({ EAGAIN: 101 });
});
