import { dirname } from 'node:path';
import { runtimePath, type Config } from '../config/config.ts';
import { bootId } from '../system/boot-id.ts';
import { messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { ensureFolder, replaceFile } from '../system/write-files.ts';
import { log } from '../system/journal.ts';
import { realPathOf } from '../system/real-path.ts';
import { checkShape, flag, listOf, number, objectOf, text as anyText } from '../text/shape.ts';
import { BOOT_RECORD, bootRecord, hasBeenReady, type BootRecord } from './boot-times.ts';
import { metrics } from './metrics.ts';
import type { StatusDocument } from './schema.ts';

const PUBLIC_FILE = 0o644;
/** The newest status, whichever run wrote it. */
export const STATUS_FILE = 'status.json';
const METRICS = 'metrics.prom';

/**
 * Writes the result where it can be read without asking the daemon, for machines that do not live long enough to be
 * asked. A full /run must not hold up Docker, so a failure is logged and ignored.
 * @returns the text of status.json, or undefined if it could not be written
 */
export function publish(config: Config, status: StatusDocument, command: BootRecord['command']): string | undefined {
  const text = `${JSON.stringify(status)}\n`;
  try {
    ensureFolder(realPathOf(dirname(config.statusSocket)), 0o755);
    const write = (name: string, text: string): void =>
      replaceFile(runtimePath(config, name), text, { mode: PUBLIC_FILE, durable: false });
    write(STATUS_FILE, text);
    write(METRICS, metrics(status));
    const known = bootRecord(config);
    if (known === undefined || (known.command === 'apply' && command === 'run')) {
      const { readyUsec, timings, state } = known ?? status;
      write(
        BOOT_RECORD,
        `${JSON.stringify({ readyUsec, timings, state, command, boot: bootId() } satisfies BootRecord)}\n`,
      );
    }
    return text;
  } catch (error) {
    log('STATUS_NOT_WRITTEN', `the status files cannot be written, ignoring: ${messageOf(error)}`);
    return undefined;
  }
}

/** The text of this boot's newest status.json, whichever run wrote it, or undefined, also where it cannot be read. */
export function publishedStatus(config: Config): string | undefined {
  if (!hasBeenReady(config)) return undefined;
  try {
    return readTextIfThere(runtimePath(config, STATUS_FILE));
  } catch {
    return undefined;
  }
}

/** The status that the last run in this boot has left, or undefined. */
export function lastStatus(config: Config): StatusDocument | undefined {
  const text = publishedStatus(config);
  return text === undefined ? undefined : parseStatus(text);
}

/** What every version has written. What it had not yet is only handed on. */
const statusShape = objectOf({
  state: anyText,
  summary: anyText,
  pending: listOf(anyText),
  disks: listOf(objectOf({ label: anyText })),
  images: listOf(objectOf({ id: anyText, references: listOf(anyText), usable: flag })),
  findings: listOf(objectOf({ code: anyText, message: anyText })),
  timings: listOf(objectOf({ phase: anyText, startUsec: number })),
  readyUsec: number,
});

/** Parses a status.json, which only root can write; undefined if it is damaged. */
export function parseStatus(written: string): StatusDocument | undefined {
  try {
    const document: unknown = JSON.parse(written);
    checkShape(document, statusShape);
    return document as StatusDocument;
  } catch {
    return undefined;
  }
}

/** The images that dockerd has or had, according to a status. */
export function imagesOfStatus(status: StatusDocument | undefined): ReadonlySet<string> {
  return new Set((status?.images ?? []).filter(({ usable, code }) => usable || code === 'REMOVED').map(({ id }) => id));
}
