import { isAbsolute } from 'node:path';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';

/** dockerd's own configuration, as far as it decides which store there is. */
export interface DaemonConfig {
  readonly dataRoot: string;
  readonly storageDriver: string | undefined;
  readonly usernsRemap: string | undefined;
  /** features.containerd-snapshotter: images are containerd's and not in overlay2/. */
  readonly containerdStore: boolean | undefined;
}

export const DEFAULT_DATA_ROOT = '/var/lib/docker';

/**
 * Reads dockerd's configuration file; none means dockerd's defaults, and zod is not loaded.
 * @throws PreloaderError DOCKER_CONFIG_INVALID: dockerd itself would refuse to start with such a file
 */
export async function readDaemonConfig(path: string): Promise<DaemonConfig> {
  try {
    const text = readTextIfThere(path);
    // dockerd takes an empty file for {}.
    if (text === undefined || text.trim() === '') return { dataRoot: DEFAULT_DATA_ROOT, storageDriver: undefined, usernsRemap: undefined, containerdStore: undefined };
    const { parseDaemonConfig } = await import('./daemon-config-schema.ts');
    const config = parseDaemonConfig(text.replace(/^\uFEFF/, ''));
    const dataRoot = config['data-root'] ?? config.graph;
    if (dataRoot !== undefined && dataRoot !== '' && !isAbsolute(dataRoot)) throw new Error(`\`data-root\`: an absolute path expected, found ${JSON.stringify(dataRoot)}`);
    return {
      dataRoot: withoutSlash(dataRoot === undefined || dataRoot === '' ? DEFAULT_DATA_ROOT : dataRoot),
      storageDriver: emptyAsUndefined(config['storage-driver']),
      usernsRemap: emptyAsUndefined(config['userns-remap']),
      containerdStore: config.features?.['containerd-snapshotter'],
    };
  } catch (error) {
    throw new PreloaderError('DOCKER_CONFIG_INVALID', `${path}: ${messageOf(error)}: the store is left alone`, { cause: error });
  }
}

function emptyAsUndefined(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function withoutSlash(path: string): string {
  return path.replace(/(.)\/+$/, '$1');
}
