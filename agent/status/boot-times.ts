import { runtimePath, type Config } from '../boot/config.ts';
import { readTextIfThere } from '../system/files.ts';
import type { StatusDocument } from './schema.ts';

/** The status with the times of this boot's first READY, where there was one: a daemon that was started again has no others to tell. */
export function withBootTimes(config: Config, status: StatusDocument): StatusDocument {
  try {
    const { readyUsec, timings } = JSON.parse(readTextIfThere(runtimePath(config, 'boot.json')) ?? '{}') as Partial<Pick<StatusDocument, 'readyUsec' | 'timings'>>;
    return readyUsec === undefined || timings === undefined ? status : { ...status, readyUsec, timings };
  } catch {
    // The file is ours; one that is damaged tells nothing.
    return status;
  }
}
