import { writeFileSync } from 'node:fs';
import path from 'node:path';

export interface DisklessConfig {
  readonly configFile: string;
  /** Of the status. */
  readonly socket: string;
}

/**
 * Writes the configuration of an agent that has a folder for itself, and finds no disk.
 * @param more in place of that, or beside it
 */
export function writeDisklessConfig(own: string, more: object = {}): DisklessConfig {
  const [configFile, socket] = [path.join(own, 'config.json'), path.join(own, 'status/status.sock')];
  writeFileSync(
    configFile,
    JSON.stringify({
      labels: ['no-such-*'],
      store: 'overlay2',
      dataRoot: path.join(own, 'data'),
      mountRoot: path.join(own, 'disks'),
      dockerConfig: path.join(own, 'daemon.json'),
      statusSocket: socket,
      ...more,
    }),
  );
  return { configFile, socket };
}
