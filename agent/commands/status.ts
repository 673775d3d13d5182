import { existsSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { defaultConfig, readConfig, type Config } from '../boot/config.ts';
import { fetchStatus } from '../status/client.ts';
import type { StatusDocument } from '../status/document.ts';
import { states } from '../status/state.ts';
import { messageOf } from '../system/errors.ts';
import { megabytes } from '../system/megabytes.ts';
import { oneLine } from '../system/one-line.ts';

const WATCH_MS = 1000;

/** Asks the daemon. @returns the exit status: that of the state, or 1 when no daemon answers */
export async function printStatus(options: { readonly config?: string; readonly json?: boolean; readonly watch?: boolean }): Promise<number> {
  const { statusSocket } = await configOrDefault(options.config);
  let before = '';
  for (;;) {
    let status: StatusDocument;
    try {
      status = await fetchStatus(statusSocket);
    } catch (error) {
      process.stderr.write(`docker-preloader: no daemon answers on ${statusSocket}: ${messageOf(error)}; look at: systemctl status docker-preloader\n`);
      return 1;
    }
    const text = options.json === true ? `${JSON.stringify(status)}\n` : statusTable(status);
    if (text !== before) process.stdout.write(text);
    before = text;
    if (options.watch !== true) return states[status.state].exitStatus;
    await setTimeout(WATCH_MS);
  }
}

/** With a configuration that is wrong, the daemon serves its error where the default one has its socket. */
async function configOrDefault(path: string | undefined): Promise<Config> {
  try {
    return await readConfig(path);
  } catch (error) {
    const config = defaultConfig();
    if (!existsSync(config.statusSocket)) throw error;
    return config;
  }
}

/** The status as a person reads it. */
export function statusTable(status: StatusDocument): string {
  const lines = [status.summary, ''];
  if (status.disks.length > 0) {
    const rows = status.disks.map((disk) => [disk.label, disk.device, disk.filesystem, megabytes(disk.sizeBytes), String(disk.images), String(disk.layers), disk.mountPoint]);
    lines.push(...columns([['DISK', 'DEVICE', 'TYPE', 'SIZE', 'IMAGES', 'LAYERS', 'MOUNTED ON'], ...rows]), '');
  }
  if (status.images.length > 0) {
    const rows = status.images.map((image) => [image.references.join(', ') || '<none>', image.id.slice(7, 19), image.disk, image.usable ? 'yes' : 'no']);
    lines.push(...columns([['IMAGE', 'ID', 'DISK', 'USABLE'], ...rows]), '');
  }
  for (const finding of status.findings) lines.push(`${finding.code}: ${oneLine(finding.message)}`);
  for (const step of status.pending) lines.push(`pending: ${oneLine(step)}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
}
