import { runtimePath, type Config } from '../config/config.ts';
import { bootId } from '../system/boot-id.ts';
import { readTextIfThere } from '../system/read-files.ts';
import type { StatusDocument } from './schema.ts';

/**
 * Written when a run has been READY for the first time in this boot, so that a restart does not replace the times of
 * the boot with its own.
 */
export const BOOT_RECORD = 'boot.json';

/** The content of boot.json: the times of this boot's first READY. */
export interface BootRecord extends Pick<StatusDocument, 'readyUsec' | 'timings' | 'state'> {
  /** Identifies the boot. */
  readonly boot: string;
  /** `run` if that was READY in this boot, else `apply`. */
  readonly command: 'run' | 'apply';
}

/**
 * The record of this boot, or undefined. If the status socket is on storage that outlives a boot, the file may be from
 * an earlier boot, which does not count. A damaged file does not count either.
 */
export function bootRecord(config: Config): BootRecord | undefined {
  try {
    const text = readTextIfThere(runtimePath(config, BOOT_RECORD));
    if (text === undefined) return undefined;
    const record = JSON.parse(text) as BootRecord;
    return record.boot === bootId() ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a run has already waited for the devices of this boot. */
export function hasBeenReady(config: Config): boolean {
  return bootRecord(config) !== undefined;
}

/**
 * The status with the times of this boot's first READY, if there was one: the times of a restarted daemon mean nothing.
 */
export function withBootTimes(config: Config, status: StatusDocument): StatusDocument {
  const record = bootRecord(config);
  return record === undefined ? status : { ...status, readyUsec: record.readyUsec, timings: record.timings };
}
