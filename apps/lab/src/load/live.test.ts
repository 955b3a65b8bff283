import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LiveView, type Screen } from './live.js';
import { planOf } from './plan.js';
import { Recorder } from './recorder.js';
import type { LiveStatus } from './run.js';
import { readScenario } from './scenario.js';

const options = {
  baseUrl: 'http://127.0.0.1:8083',
  timeScale: 60,
  scaleAddresses: false,
  addressMode: 'source',
} as const;
const plan = planOf(readScenario('light_load'), { ...options, seed: 1, callTimeoutMs: 1 });

function status(elapsedMs: number): LiveStatus {
  const recorder = new Recorder();
  const call = { kind: 'message', plannedMs: 0, sentMs: 0, firstByteMs: 1, endedMs: 20 } as const;
  for (let count = 0; count < 9; count++) recorder.ended({ ...call, outcome: { kind: 'ok' } });
  recorder.ended({ ...call, outcome: { kind: 'refused', blockedBy: 'ip', retryAfterMs: 0 } });
  const generator = { cpu: 0.123, lagP99Ms: 1, rssBytes: 0 };
  const state = {
    phase: 'hold',
    sessions: 42,
    sessionsMost: 44,
    multiplier: 0.8,
    inFlight: 3,
    addressesResting: 1,
    generator,
  } as const;
  return { phase: 'hold', elapsedMs, moment: { ...recorder.cut(elapsedMs), ...state }, recorder };
}

function screen(isTTY: boolean, columns?: number): Screen & { text: string } {
  return {
    isTTY,
    columns,
    text: '',
    write(text: string) {
      this.text += text;
    },
  };
}

describe('the live view', () => {
  it('is one screen that updates in place in a terminal', () => {
    const terminal = screen(true, 60);
    const view = new LiveView(plan, terminal);
    view.show(status(5000));
    const lines = terminal.text.split('\n').length - 1;
    expect(terminal.text).not.toContain('\x1b[10A');
    for (const part of ['hold, 0:05 left', '42 of 100', '90.0 %', 'ip 1', 'multiplier 0.80', '1 of 5 addresses rest']) {
      expect(terminal.text).toContain(part);
    }
    terminal.text = '';
    view.show(status(6000));
    expect(terminal.text.startsWith(`\x1b[${lines}A`)).toBe(true);
    expect(terminal.text.split('\n').every((line) => stripVTControlCharacters(line).length < 60)).toBe(true);
  });

  it('is a plain line every five seconds elsewhere', () => {
    const file = screen(false);
    const view = new LiveView(plan, file);
    for (const at of [0, 1000, 4999, 5000, 6000]) view.show(status(at));
    expect(file.text).not.toContain('\x1b');
    expect(file.text.trim().split('\n')).toHaveLength(2);
  });
});
