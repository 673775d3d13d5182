import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { runtimePath, type Config } from '../boot/config.ts';
import type { Finding } from '../disk/finding.ts';
import { effectOf } from '../disk/finding.ts';
import { messageOf } from '../system/errors.ts';
import { ensureFolder, readTextIfThere, replaceFile } from '../system/files.ts';
import { log, type Priority } from '../system/journal.ts';
import type { StatusDocument } from './document.ts';
import { states } from './state.ts';

const PUBLIC_FILE = 0o644;
const STATUS = 'status.json';
const METRICS = 'metrics.prom';
/** There once a run has been READY in this boot. */
const BOOT = 'boot.json';

/**
 * Leaves the result where it can be read without asking the daemon, for machines that live too short to be asked, and
 * its findings in the journal. A full /run is no reason to hold up Docker: it is said and ignored.
 */
export function publish(config: Config, status: StatusDocument): void {
  try {
    ensureFolder(dirname(config.statusSocket), 0o755);
    const write = (name: string, text: string): void => replaceFile(runtimePath(config, name), text, { mode: PUBLIC_FILE, durable: false });
    write(STATUS, `${JSON.stringify(status)}\n`);
    write(METRICS, metrics(status));
    // A restart must not make this boot's time stamps those of a later moment.
    if (!hasBeenReady(config)) write(BOOT, `${JSON.stringify({ readyUsec: status.readyUsec, timings: status.timings, state: status.state })}\n`);
  } catch (error) {
    log('warning', `the status files cannot be written, ignoring: ${messageOf(error)}`);
  }
  for (const finding of status.findings) logFinding(finding);
}

/** One entry for the whole run. */
export function logSummary(status: StatusDocument): void {
  log(status.state === 'failed' ? 'error' : status.state === 'ok' ? 'info' : 'warning', status.summary, {
    STATE: status.state,
    DISKS: status.disks.length,
    IMAGES: status.images.length,
    CHANGES: status.changes,
  });
}

/** Logs a finding, searchable by its fields. */
export function logFinding(finding: Finding): void {
  const priorities: Record<ReturnType<typeof effectOf>, Priority> = { none: 'notice', degraded: 'warning', failed: 'error' };
  const { code, message, label, device, image } = finding;
  log(priorities[effectOf(finding)], message, { CODE: code, LABEL: label, DEVICE: device, IMAGE: image });
}

/** Whether a run has settled the devices of this boot already. */
export function hasBeenReady(config: Config): boolean {
  return existsSync(runtimePath(config, BOOT));
}

/** The text of the newest status.json, whoever wrote it, or undefined. */
export function publishedStatus(config: Config): string | undefined {
  return readTextIfThere(runtimePath(config, STATUS));
}

/** Prometheus' text format. */
export function metrics(status: StatusDocument): string {
  const lines: string[] = [];
  const gauge = (name: string, help: string, values: readonly (readonly [labels: string, value: number])[]): void => {
    lines.push(`# HELP docker_preloader_${name} ${help}`, `# TYPE docker_preloader_${name} gauge`);
    for (const [labels, value] of values) lines.push(`docker_preloader_${name}${labels} ${value}`);
  };
  gauge('state', 'The state of the last run, 1 for the one that it is in.', Object.keys(states).map((state) => [`{state="${state}"}`, state === status.state ? 1 : 0]));
  gauge('disks', 'Disks in use.', [['', status.disks.length]]);
  gauge('images', 'Images on all disks.', [['', status.images.length]]);
  gauge('images_usable', 'Of these, images that dockerd can use.', [['', status.images.filter((image) => image.usable).length]]);
  gauge('pending_changes', "Changes that wait for Docker's next start.", [['', status.pending.length]]);
  gauge('ready_seconds', 'CLOCK_MONOTONIC when the run was ready.', [['', status.readyUsec / 1_000_000]]);
  gauge('disk_size_bytes', 'Size of a disk.', status.disks.map((disk) => [`{disk="${disk.label}"}`, disk.sizeBytes]));
  return `${lines.join('\n')}\n`;
}
