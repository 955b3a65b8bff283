import { type Html, html, table } from './html.js';

export interface Series {
  readonly name: string;
  /** One value per moment. */
  readonly values: readonly number[];
}

export interface Chart {
  /** Unique in the page; letters and dashes. */
  readonly id: string;
  readonly title: string;
  /** One sentence for those who do not see the lines. */
  readonly summary: string;
  readonly unit: string;
  /** Seconds from the start of the run, one per moment. */
  readonly seconds: readonly number[];
  readonly series: readonly Series[];
  /** Phase changes, in seconds. */
  readonly marks: readonly { readonly name: string; readonly seconds: number }[];
}

const WIDTH = 720;
const HEIGHT = 230;
const LEFT = 58;
const RIGHT = 12;
const TOP = 22;
const BOTTOM = 30;
/** Lines differ by dash as well as by colour, for paper and for those who do not tell colours apart. */
const styles = [
  { colour: 'var(--line-1)', dash: '' },
  { colour: 'var(--line-2)', dash: '7 3' },
  { colour: 'var(--line-3)', dash: '2 3' },
  { colour: 'var(--line-4)', dash: '9 3 2 3' },
  { colour: 'var(--line-5)', dash: '4 2' },
  { colour: 'var(--line-6)', dash: '1 2' },
] as const;
const TABLE_ROWS_MAX = 24;

/** A line chart as inline SVG, with its legend and the same figures as a table. */
export function lineChart(chart: Chart): Html {
  const lastSecond = Math.max(1e-3, ...chart.seconds);
  const top = niceCeiling(Math.max(0, ...chart.series.flatMap(({ values }) => values)));
  const x = (second: number) => round(LEFT + (second / lastSecond) * (WIDTH - LEFT - RIGHT));
  const y = (value: number) => round(HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM));
  const lines = chart.series.map(({ values }, index) => {
    const style = styles[index % styles.length]!;
    const points = values.map((value, at) => `${x(chart.seconds[at]!)},${y(value)}`).join(' ');
    return html`<polyline
      points="${points}"
      fill="none"
      style="stroke: ${style.colour}"
      stroke-width="1.8"
      stroke-dasharray="${style.dash}"
    />`;
  });
  return html`<figure>
    <figcaption>${chart.title}</figcaption>
    <div class="plot" tabindex="0" role="group" aria-label="${chart.title}, the chart">
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${chart.id}-title ${chart.id}-summary">
        <title id="${chart.id}-title">${chart.title}</title>
        <desc id="${chart.id}-summary">${chart.summary}</desc>
        ${grid(top, lastSecond, chart.unit, x, y)}${chart.marks.map(
          (mark) =>
            html`<line
                x1="${x(mark.seconds)}"
                x2="${x(mark.seconds)}"
                y1="${TOP}"
                y2="${HEIGHT - BOTTOM}"
                class="mark"
              /><text x="${x(mark.seconds) + 3}" y="${TOP - 6}">${mark.name}</text>`,
        )}
        ${lines}
      </svg>
    </div>
    ${legend(chart.series)} ${figures(chart)}
  </figure> `;
}

function grid(
  top: number,
  lastSecond: number,
  unit: string,
  x: (s: number) => number,
  y: (v: number) => number,
): Html[] {
  const levels = [0, 0.25, 0.5, 0.75, 1].map((share) => share * top);
  const times = [0, 0.25, 0.5, 0.75, 1].map((share) => share * lastSecond);
  return [
    ...levels.map(
      (level) =>
        html`<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(level)}" y2="${y(level)}" class="grid" /><text
            x="${LEFT - 6}"
            y="${y(level) + 4}"
            text-anchor="end"
            >${short(level)}</text
          >`,
    ),
    ...times.map(
      (time, index) =>
        html`<text x="${x(time)}" y="${HEIGHT - 10}" text-anchor="${index === times.length - 1 ? 'end' : 'middle'}"
          >${clock(time)}</text
        >`,
    ),
    html`<text x="4" y="12">${unit}</text>`,
  ];
}

function legend(series: readonly Series[]): Html {
  const items = series.map(({ name }, index) => {
    const style = styles[index % styles.length]!;
    return html`<li>
      <svg width="34" height="8" aria-hidden="true">
        <line
          x1="0"
          x2="34"
          y1="4"
          y2="4"
          style="stroke: ${style.colour}"
          stroke-width="2"
          stroke-dasharray="${style.dash}"
        />
      </svg>
      ${name}
    </li>`;
  });
  return html`<ul class="legend">
    ${items}
  </ul>`;
}

function figures({ title, unit, seconds, series }: Chart): Html {
  const step = Math.max(1, Math.ceil(seconds.length / TABLE_ROWS_MAX));
  const rows = seconds.flatMap((second, at) =>
    at % step === 0 ? [[clock(second), ...series.map(({ values }) => short(values[at]!))]] : [],
  );
  const shown = step === 1 ? '' : `, every ${step}th point`;
  return html`<details>
    <summary>${title}: the figures</summary>
    ${table(`${title} (${unit})${shown}`, ['time', ...series.map(({ name }) => name)], rows)}
  </details> `;
}

/** 1, 2 or 5 times a power of ten, not below the value. */
function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? 10 * power;
}

/** `m:ss`, or `h:mm:ss` from an hour on. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function short(value: number): string {
  if (value === 0) return '0';
  if (value >= 1000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const round = (value: number) => Math.round(value * 10) / 10;
