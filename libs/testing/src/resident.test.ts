import { describe, expect, it } from 'vitest';
import { laterTrend, resident, trendInWords } from './resident.js';

describe('resident memory', () => {
  it.skipIf(process.platform !== 'linux')('is what the process itself is told, by place', () => {
    const { all, brk, anonymous, file } = resident('self');
    const told = process.memoryUsage.rss() / 2 ** 20;
    expect(Math.abs(all - told)).toBeLessThan(told / 5);
    expect(brk + anonymous + file).toBeCloseTo(all);
    expect(anonymous).toBeGreaterThan(5);
    expect(file).toBeGreaterThan(1);
  });
});

describe('the trend of the later half', () => {
  const samples = (values: number[]) => values.map((value, index) => ({ seconds: index * 10, value }));

  it('knows a slope', () => {
    expect(laterTrend(samples([0, 90, 100, 101, 102, 103])).perMinute).toBeCloseTo(6);
  });

  it('does not look at how a plateau was reached', () => {
    expect(laterTrend(samples([1, 50, 80, 100, 101, 99, 100]))).toMatchObject({ least: 99, most: 101 });
    expect(laterTrend(samples([1, 50, 100, 100, 100, 100])).perMinute).toBe(0);
  });

  it('is told in words', () => {
    expect(trendInWords('resident', { perMinute: 0.26, least: 99.6, most: 104 })).toBe(
      'resident, later half: +0.3 MB a minute, between 100 and 104 MB',
    );
  });
});
