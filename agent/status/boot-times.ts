import { existsSync } from 'node:fs';
import { runtimePath, type Config } from '../boot/config.ts';
import { readTextIfThere } from '../system/files.ts';
import type { StatusDocument } from './schema.ts';

/** There once a run has been READY in this boot: a restart must not make this boot's times those of a later moment. */
export const BOOT_RECORD = 'boot.json';

/** Whether a run has settled the devices of this boot already. */
export function hasBeenReady(config: Config): boolean {
  return existsSync(runtimePath(config, BOOT_RECORD));
}

/** The status with the times of this boot's first READY, where there was one: a daemon that was started again has no others to tell. */
export function withBootTimes(config: Config, status: StatusDocument): StatusDocument {
  try {
    const { readyUsec, timings } = JSON.parse(readTextIfThere(runtimePath(config, BOOT_RECORD)) ?? '{}') as Partial<Pick<StatusDocument, 'readyUsec' | 'timings'>>;
    return readyUsec === undefined || timings === undefined ? status : { ...status, readyUsec, timings };
  } catch {
    // The file is ours; one that is damaged tells nothing.
    return status;
  }
}
