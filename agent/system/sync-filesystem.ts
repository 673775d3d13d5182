import { closeSync, openSync } from 'node:fs';
import { systemCall } from './libc.ts';

/**
 * Waits until everything that was written to a folder's filesystem has reached its disk (syncfs(2)). @throws system
 * errors
 */
export function syncFilesystem(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    systemCall('syncfs', fd);
  } finally {
    closeSync(fd);
  }
}
