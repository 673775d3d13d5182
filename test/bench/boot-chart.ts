import { agentPhases, type Sample } from './boot-report.ts';
import { median } from './statistics.ts';

const COLOURS: readonly string[] = [
  '#8c8c8c',
  '#bdbdbd',
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#e15759',
  '#76b7b2',
  '#edc948',
  '#b07aa1',
  '#9c755f',
];
const WIDTH = 860;
const LEFT = 150;
const ROW = 34;

/**
 * One bar a rival of the base case, the agent's cut into its phases, as SVG; undefined where there is nothing to draw.
 */
export function bootChart(samples: readonly Sample[]): string | undefined {
  const base = samples.filter((sample) => sample.group === 'base');
  const phases = agentPhases(samples);
  if (phases.size === 0) return undefined;
  const rivals = [...new Set(base.map((sample) => sample.rival))]
    .map((rival) => ({
      rival,
      milliseconds: median(base.filter((sample) => sample.rival === rival).map((sample) => sample.milliseconds)),
    }))
    .toSorted((a, b) => a.milliseconds - b.milliseconds);
  const scale = (WIDTH - LEFT - 80) / Math.max(...rivals.map(({ milliseconds }) => milliseconds));
  const bars = rivals.map(({ rival, milliseconds }, row) => {
    const y = 34 + row * ROW;
    const pieces = rival === 'agent' ? [...phases] : [[rival, milliseconds] as const];
    let x = LEFT;
    const boxes = pieces.map(([name, value], index) => {
      const box = `<rect x="${x.toFixed(1)}" y="${y}" width="${(value * scale).toFixed(1)}" height="22" fill="${rival === 'agent' ? COLOURS[index % COLOURS.length] : '#d0d7de'}"><title>${name}: ${value.toFixed(1)} ms</title></rect>`;
      x += value * scale;
      return box;
    });
    return `${boxes.join('')}<text x="${LEFT - 8}" y="${y + 16}" text-anchor="end">${rival}</text><text x="${(x + 6).toFixed(1)}" y="${y + 16}">${milliseconds.toFixed(1)} ms</text>`;
  });
  const legendTop = 34 + rivals.length * ROW + 12;
  const legend = [...phases].map(([name, value], index) => {
    const [x, y] = [LEFT + (index % 3) * 220, legendTop + Math.floor(index / 3) * 22];
    return `<rect x="${x}" y="${y}" width="12" height="12" fill="${COLOURS[index % COLOURS.length]}"/><text x="${x + 18}" y="${y + 11}">${name} ${value.toFixed(1)} ms</text>`;
  });
  const height = legendTop + Math.ceil(phases.size / 3) * 22 + 10;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="${LEFT}" y="20" font-weight="bold">1 disk of 12 layers, warm: from exec to READY, medians of ${new Set(base.map((sample) => sample.round)).size} rounds</text>
${bars.join('\n')}
${legend.join('\n')}
</svg>
`;
}
