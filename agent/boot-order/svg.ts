import { oneLine } from '../text/one-line.ts';
import type { BootDocument } from './boot-document.ts';
import { duration, offset } from './format.ts';
import type { Timeline, TimelineEntry } from './timeline.ts';

/**
 * In pixels. At this size, a monospaced character is at most this wide, so that texts can be laid out without measuring
 * them.
 */
const FONT_SIZE = 13;
const CHARACTER = 8;
const ROW = 24;
const MARGIN = 16;
const CHART = 720;
const MAX_NAME = 44;
const MAX_REASON = 72;
const MIN_BAR = 2;
const TICKS = 8;
/** The most that a chart can show and a browser can draw. */
const MAX_ROWS = 400;

const KINDS: readonly (readonly [kind: TimelineEntry['kind'], title: string])[] = [
  ['stage', 'stage of the boot'],
  ['device', 'device'],
  ['unit', 'unit'],
  ['step', 'step of a unit'],
  ['mount', 'mount'],
  ['container', 'container'],
];

/** In both colour schemes, text has a contrast of at least 4.5 to 1. */
const STYLE = `
  svg { --back: #ffffff; --text: #1c1e21; --faint: #5c6066; --line: #d9dce0; --stage: #b9c0c9; --device: #b35900; --unit: #3f7fd0; --step: #8fb8ec; --mount: #2f8f4e; --container: #8a4fc7; --critical: #c4261d }
  @media (prefers-color-scheme: dark) {
    svg { --back: #16181b; --text: #e8eaed; --faint: #a3a9b1; --line: #34383e; --stage: #565d66; --device: #f0a04b; --unit: #5c9ded; --step: #4877a8; --mount: #5fc482; --container: #b98af0; --critical: #ff7b72 }
  }
  text { font: ${FONT_SIZE}px "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace; fill: var(--text); white-space: pre }
  .faint { fill: var(--faint) } .critical { fill: var(--critical); font-weight: bold } .title { font-weight: bold }
  .back { fill: var(--back) } .grid { stroke: var(--line) } .mark { fill: var(--critical) }
${KINDS.map(([kind]) => `  .${kind} { fill: var(--${kind}) }`).join('\n')}
`;

/**
 * The timeline as a chart like that of `systemd-analyze plot`, a picture that any browser shows in light and dark.
 * Names may come from a disk or from another machine, so they are escaped and cut, never trusted.
 */
export function bootChart(document: BootDocument, times: Timeline): string {
  const { originUsec } = times;
  const entries = withCriticalPath(times);
  const shown = entries.slice(0, MAX_ROWS);
  const names = shown.map((entry) => cut(`${entry.of === undefined ? '' : '  '}${oneLine(entry.name)}`, MAX_NAME));
  const reasons = shown.map((entry) =>
    entry.waitedFor === undefined ? '' : cut(`waited for ${oneLine(entry.waitedFor)}`, MAX_REASON),
  );
  const startUsec = Math.min(originUsec, ...shown.map((entry) => entry.startUsec));
  // Events long after Docker was up would squeeze the boot into a few pixels.
  const docker = shown.find((entry) => entry.name === 'docker.service');
  const limit = docker === undefined ? Number.POSITIVE_INFINITY : startUsec + (docker.endUsec - startUsec) * 1.25;
  const endUsec = Math.max(startUsec + 1, ...shown.map((entry) => entry.endUsec).filter((usec) => usec <= limit));

  const nameWidth = Math.max(...names.map(width), width('step')) + MARGIN;
  const durations = shown.map(
    (entry) =>
      `${entry.endUsec > entry.startUsec ? duration(entry.endUsec - entry.startUsec) : `at ${offset(entry.startUsec - originUsec)}`}${entry.startUsec > endUsec ? ' ▸' : ''}`,
  );
  const durationWidth = Math.max(0, ...durations.map(width)) + MARGIN * 2;
  const left = MARGIN + nameWidth;
  const right = left + CHART + durationWidth;
  const title = `Boot order of Linux ${cut(oneLine(document.system.kernel), 40)}, ${document.system.systemd === '' ? 'systemd' : `systemd ${cut(oneLine(document.system.systemd), 30)}`}`;
  const total =
    Math.max(right + Math.max(0, ...reasons.map(width)), MARGIN + width(title), left + legendWidth()) + MARGIN;
  const top = MARGIN + ROW * 3;
  const height = top + ROW * shown.length + ROW * 2 + MARGIN;
  const x = (usec: number): number =>
    left + ((Math.min(Math.max(usec, startUsec), endUsec) - startUsec) / (endUsec - startUsec)) * CHART;

  const rows = shown.map((entry, index) => {
    const y = top + ROW * index;
    const from = x(entry.startUsec);
    const to = x(entry.endUsec);
    const isLate = entry.startUsec > endUsec;
    const shape =
      entry.endUsec > entry.startUsec || isLate
        ? `<rect class="${entry.kind}" x="${round(from)}" y="${y + 4}" width="${round(Math.max(MIN_BAR, to - from))}" height="${ROW - 8}" rx="2"/>`
        : `<path class="${entry.kind}" d="M${round(from)} ${y + 4} l6 8 l-6 8 l-6 -8 z"/>`;
    return `<g><title>${escaped(`${oneLine(entry.name)}: ${offset(entry.startUsec - originUsec)} to ${offset(entry.endUsec - originUsec)}${entry.waitedFor === undefined ? '' : `, waited for ${oneLine(entry.waitedFor)}`}`)}</title>
${text(MARGIN, y, names[index] ?? '', entry.critical ? 'critical' : '')}
${shape}${text(Math.max(to, from + MIN_BAR) + 10, y, durations[index] ?? '', 'faint')}
${reasons[index] === '' ? '' : text(right, y, reasons[index] ?? '', 'faint')}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${total} ${height}" width="${total}" height="${height}" role="img">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
<rect class="back" width="100%" height="100%"/>
${text(MARGIN, MARGIN, title, 'title')}
${legend(left, MARGIN + ROW)}
${axis(startUsec - originUsec, endUsec - originUsec, (usec) => x(usec + originUsec), top, top + ROW * shown.length)}
${rows.join('\n')}
${text(MARGIN, top + ROW * shown.length + ROW / 2, entries.length > shown.length ? `${entries.length - shown.length} more are left out` : 'red: the critical path to docker.service', 'faint')}
</svg>
`;
}

/** Adds the units of the critical path that the table does not have. */
function withCriticalPath({ entries, criticalPath }: Timeline): TimelineEntry[] {
  const all = [...entries];
  const names = new Set(entries.map(({ name }) => name));
  for (const unit of criticalPath.filter(({ name }) => !names.has(name))) {
    const next = all.findIndex(({ of, startUsec }) => of === undefined && startUsec > unit.startUsec);
    all.splice(next === -1 ? all.length : next, 0, unit);
  }
  return all;
}

function legend(left: number, y: number): string {
  let at = left;
  return KINDS.map(([kind, title]) => {
    const part = `<rect class="${kind}" x="${at}" y="${y + 6}" width="12" height="12" rx="2"/>${text(at + 18, y, title, 'faint')}`;
    at += 18 + width(title) + 24;
    return part;
  }).join('');
}

function legendWidth(): number {
  return KINDS.reduce((sum, [, title]) => sum + 42 + width(title), 0);
}

/** Labels at round numbers of seconds, as many as fit. */
function axis(fromUsec: number, toUsec: number, x: (usec: number) => number, top: number, bottom: number): string {
  const raw = (toUsec - fromUsec) / TICKS;
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw) ?? power * 10,
  );
  const lines: string[] = [];
  for (let usec = Math.ceil(fromUsec / step) * step; usec <= toUsec && lines.length <= TICKS * 2; usec += step) {
    lines.push(
      `<path class="grid" d="M${round(x(usec))} ${top - 4} V${bottom}"/>${text(x(usec), top - ROW, label(usec, step), 'faint', 'middle')}`,
    );
  }
  return lines.join('\n');
}

function label(usec: number, step: number): string {
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step / 1_000_000))));
  return `${(usec / 1_000_000).toFixed(digits)} s`;
}

function text(x: number, y: number, content: string, style: string, anchor?: 'middle'): string {
  return `<text x="${round(x)}" y="${y + 17}"${style === '' ? '' : ` class="${style}"`}${anchor === undefined ? '' : ` text-anchor="${anchor}"`}>${escaped(content)}</text>`;
}

/** The width of a text in characters, some of which are wider than Latin ones. */
function width(content: string): number {
  return Array.from(content).reduce((sum, character) => sum + (character > '\u2fff' ? 2 : 1), 0) * CHARACTER;
}

function cut(content: string, characters: number): string {
  let rest = characters;
  let kept = '';
  for (const character of content) {
    rest -= character > '\u2fff' ? 2 : 1;
    if (rest < 1 && width(content) > characters * CHARACTER) return `${kept}…`;
    kept += character;
  }
  return kept;
}

function round(number: number): string {
  return String(Math.round(number * 10) / 10);
}

/** For text and attributes. Half a surrogate pair and U+FFFE are not allowed in XML. */
function escaped(content: string): string {
  return content
    .toWellFormed()
    .replaceAll(/[\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
