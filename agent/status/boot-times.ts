import { runtimePath, type Config } from '../config/config.ts';
import { bootId } from '../system/boot-id.ts';
import { readTextIfThere } from '../system/files.ts';
import type { StatusDocument } from './schema.ts';

/** There once a run has been READY in this boot: a restart must not make this boot's times those of a later moment. */
export const BOOT_RECORD = 'boot.json';

/** What boot.json holds: the times of this boot's first READY. */
export interface BootRecord extends Pick<StatusDocument, 'readyUsec' | 'timings' | 'state'> {
  /** Which boot it is of. */
  readonly boot: string;
  /** `run` once that was READY in this boot. */
  readonly command: 'run' | 'apply';
}

/**
 * The record of this boot, or undefined: where the status socket lies on storage that outlives a boot, there is that of an
 * earlier one. One that is damaged tells nothing.
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

/** Whether a run has settled the devices of this boot already. */
export function hasBeenReady(config: Config): boolean {
  return bootRecord(config) !== undefined;
}

/** The status with the times of this boot's first READY, where there was one: a daemon that was started again has no others to tell. */
export function withBootTimes(config: Config, status: StatusDocument): StatusDocument {
  const record = bootRecord(config);
  return record === undefined ? status : { ...status, readyUsec: record.readyUsec, timings: record.timings };
}
