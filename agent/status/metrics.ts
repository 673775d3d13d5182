import type { StatusDocument } from './schema.ts';
import { states } from './state.ts';

/** The type of OpenMetrics 1.0, which Prometheus asks for and understands. */
export const METRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

const diskStates = [
  'in-use',
  'pending',
  'unused',
  'refused',
  'lost',
  'missing',
] as const satisfies readonly StatusDocument['disks'][number]['state'][];

type Labels = Readonly<Record<string, string>>;

/**
 * The status in OpenMetrics' text format. Only gauges are used, so that metrics.prom is also valid in the older
 * Prometheus format: node_exporter's textfile collector accepts neither `info` nor `stateset`, and takes `# UNIT` and
 * `# EOF` as comments.
 */
export function metrics(status: StatusDocument): string {
  const lines: string[] = [];
  const gauge = (name: string, help: string, values: readonly (readonly [labels: Labels, value: number])[]): void => {
    const family = `docker_preloader_${name}`;
    const unit = /_(seconds|bytes)$/.exec(name)?.[1];
    lines.push(
      `# TYPE ${family} gauge`,
      ...(unit === undefined ? [] : [`# UNIT ${family} ${unit}`]),
      `# HELP ${family} ${help}`,
    );
    for (const [labels, value] of values) lines.push(`${family}${labelSet(labels)} ${value}`);
  };
  const used = status.disks.filter((disk) => disk.mountPoint !== null);
  gauge(
    'state',
    'The state of the last run: 1 for the current state, 0 for the others.',
    Object.keys(states).map((state) => [{ state }, state === status.state ? 1 : 0]),
  );
  gauge('disks', 'Disks in use.', [[{}, used.length]]);
  gauge(
    'disk_states',
    'Disks by state.',
    diskStates.map((state) => [{ state }, status.disks.filter((disk) => disk.state === state).length]),
  );
  gauge('images', 'Images on all disks.', [[{}, status.images.length]]);
  gauge('images_usable', 'Of these, images that dockerd has.', [
    [{}, status.images.filter((image) => image.usable).length],
  ]);
  gauge(
    'store_images',
    'Images of the disks that a store has, by store and namespace.',
    status.stores.map(({ store, namespace, images }) => [{ store, namespace: namespace ?? '' }, images]),
  );
  gauge(
    'layers',
    'Layers of a disk.',
    used.map((disk) => [{ disk: disk.label }, disk.layers]),
  );
  gauge(
    'layers_shared',
    'Of these, layers that the store has from the user or another disk.',
    used.map((disk) => [{ disk: disk.label }, disk.sharedLayers]),
  );
  gauge(
    'disk_size_bytes',
    'Size of a disk.',
    used.map((disk) => [{ disk: disk.label }, disk.sizeBytes ?? 0]),
  );
  gauge(
    'findings',
    'What was left out or is in conflict, by code.',
    [...Map.groupBy(status.findings, ({ code }) => code)].map(([code, found]) => [{ code }, found.length]),
  );
  gauge('pending_changes', "Changes that wait for Docker's next start.", [[{}, status.pending.length]]);
  gauge('ready_seconds', 'CLOCK_MONOTONIC when the run was ready.', [[{}, status.readyUsec / 1_000_000]]);
  gauge(
    'phase_duration_seconds',
    'How long each step of the run took.',
    status.timings.map(({ phase, durationUsec }) => [{ phase }, durationUsec / 1_000_000]),
  );
  gauge('version', 'Always 1; the versions are in the labels.', [
    [{ version: status.versions.agent, format: status.versions.format, dockerd: status.versions.dockerd ?? '' }, 1],
  ]);
  return `${lines.join('\n')}\n# EOF\n`;
}

function labelSet(labels: Labels): string {
  const entries = Object.entries(labels);
  return entries.length === 0 ? '' : `{${entries.map(([name, value]) => `${name}="${escape(value)}"`).join(',')}}`;
}

/** OpenMetrics 1.0, "escaped-string". */
function escape(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
