import { FORMAT_VERSION } from '../disk/manifest.ts';
import type { Finding } from '../disk/finding.ts';
import type { LoadedDisk, Preload } from '../boot/preload.ts';
import { describeStep } from '../boot/steps.ts';
import type { Timing } from '../boot/timings.ts';
import { oneLine } from '../system/one-line.ts';
import { plural } from '../system/plural.ts';
import { VERSION } from '../version.ts';
import { stateOf, type State } from './state.ts';

/** What `GET /v1/status` answers and status.json holds. It only ever grows. */
export interface StatusDocument {
  readonly state: State;
  /** In one line. */
  readonly summary: string;
  readonly version: string;
  readonly formatVersion: string;
  readonly dataRoot: string | null;
  readonly dockerRunning: boolean;
  /** Whether the store was changed, or found to be as it should be. */
  readonly applied: boolean;
  readonly changes: number;
  /** What waits for Docker's next start. */
  readonly pending: readonly string[];
  readonly disks: readonly DiskStatus[];
  readonly images: readonly ImageStatus[];
  readonly findings: readonly Finding[];
  readonly timings: readonly Timing[];
  /** CLOCK_MONOTONIC at READY, microseconds. */
  readonly readyUsec: number;
}

interface DiskStatus {
  readonly label: string;
  readonly device: string;
  readonly filesystem: string;
  readonly sizeBytes: number;
  readonly mountPoint: string;
  readonly images: number;
  readonly layers: number;
  readonly layerBytes: number;
  readonly manifestDigest: string | null;
}

interface ImageStatus {
  readonly id: string;
  readonly references: readonly string[];
  readonly disk: string;
  readonly usable: boolean;
}

/** Tells of a run. @param readyUsec when it ended, CLOCK_MONOTONIC in microseconds */
export function statusDocument(run: Preload, readyUsec: number): StatusDocument {
  const state = stateOf(run.findings, run.disks.length);
  const steps = run.plan?.steps ?? [];
  const isPending = run.plan !== undefined && !run.applied;
  return {
    state,
    summary: summarise(run, state, readyUsec),
    version: VERSION,
    formatVersion: FORMAT_VERSION,
    dataRoot: run.dataRoot ?? null,
    dockerRunning: run.isDockerRunning,
    applied: run.applied,
    changes: run.applied ? steps.length : 0,
    pending: isPending ? steps.map(describeStep) : [],
    disks: run.disks.map(diskStatus),
    images: run.disks.flatMap((disk) => imageStatuses(run, disk)),
    findings: run.findings,
    timings: run.timings.entries,
    readyUsec,
  };
}

function diskStatus({ mounted, content }: LoadedDisk): DiskStatus {
  let layerBytes = 0;
  for (const layer of content.layers.values()) layerBytes += Number(layer.size);
  return {
    label: content.label,
    device: mounted.device.path,
    filesystem: mounted.superblock.filesystem,
    sizeBytes: mounted.device.sizeBytes,
    mountPoint: mounted.path,
    images: content.images.size,
    layers: content.layers.size,
    layerBytes,
    manifestDigest: content.manifestDigest ?? null,
  };
}

function imageStatuses(run: Preload, { content }: LoadedDisk): ImageStatus[] {
  const references = Map.groupBy(content.references, ([, id]) => id);
  return [...content.images.keys()].map((id) => ({
    id,
    references: references.get(id)?.map(([reference]) => reference) ?? [],
    disk: content.label,
    usable: run.plan?.catalogue.images.has(id) === true,
  }));
}

function summarise(run: Preload, state: State, readyUsec: number): string {
  const first = run.timings.entries[0]?.startUsec ?? readyUsec;
  const milliseconds = Math.round((readyUsec - first) / 1000);
  const worst = run.findings.find((finding) => stateOf([finding], 1) === state);
  const counts = `${plural(run.disks.length, 'disk')}, ${plural(run.plan?.catalogue.images.size ?? 0, 'image')}, ${plural(run.plan?.catalogue.layers.size ?? 0, 'layer')}`;
  const steps = run.plan?.steps.length ?? 0;
  const done = run.applied ? (steps === 0 ? 'nothing to change' : plural(steps, 'change')) : steps > 0 ? `${plural(steps, 'change')} pending: run systemctl restart docker` : 'nothing changed';
  const more = run.findings.length > 1 ? ` (and ${run.findings.length - 1} more)` : '';
  const text = `${counts}, ${done}, ${milliseconds} ms`;
  // It goes to terminals and to the service manager as it is.
  return oneLine((state === 'degraded' || state === 'failed') && worst !== undefined ? `${state}: ${worst.message}${more}; ${text}` : `${state}: ${text}`);
}
