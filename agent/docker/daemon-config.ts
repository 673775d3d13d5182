import { isAbsolute, join } from 'node:path';
import { messageAt, PreloaderError } from '../system/errors.ts';
import { readConfiguration } from '../system/read-files.ts';

/** The part of dockerd's own configuration that decides which store it uses. */
export interface DaemonConfig {
  readonly dataRoot: string;
  readonly storageDriver: string | undefined;
  readonly usernsRemap: string | undefined;
  /** features.containerd-snapshotter: whether images are kept by containerd and not in overlay2/. */
  readonly containerdStore: boolean | undefined;
  /** Where dockerd listens. */
  readonly hosts: readonly string[];
  /** The path of the socket of the containerd that it is told to use. */
  readonly containerd: string | undefined;
  readonly execRoot: string;
}

export const DEFAULT_DATA_ROOT = '/var/lib/docker';
const DEFAULT_EXEC_ROOT = '/var/run/docker';
/** The namespace of containerd that dockerd has its images in. */
export const MOBY = 'moby';

/**
 * Reads dockerd's configuration file. If there is none, dockerd's defaults apply.
 * @throws PreloaderError DOCKER_CONFIG_INVALID: dockerd itself would refuse to start with such a file
 */
export async function readDaemonConfig(path: string): Promise<DaemonConfig> {
  try {
    const bytes = readConfiguration(path);
    if (bytes === undefined)
      return {
        dataRoot: DEFAULT_DATA_ROOT,
        storageDriver: undefined,
        usernsRemap: undefined,
        containerdStore: undefined,
        containerd: undefined,
        execRoot: DEFAULT_EXEC_ROOT,
        hosts: [],
      };
    const { parseDaemonJson } = await import('./daemon-json.ts');
    const config = parseDaemonJson(bytes);
    if (config['data-root'] !== '' && config.graph !== '')
      throw new Error('`graph`: expected none beside `data-root`, as it was called before');
    const dataRoot = config['data-root'] || config.graph || DEFAULT_DATA_ROOT;
    if (!isAbsolute(dataRoot))
      throw new Error(`\`data-root\`: expected an absolute path, found ${JSON.stringify(dataRoot)}`);
    if (dataRoot.includes('\0'))
      throw new Error(`\`data-root\`: expected a path without NUL, found ${JSON.stringify(dataRoot)}`);
    return {
      dataRoot: withoutSlash(dataRoot),
      storageDriver: config['storage-driver'] || undefined,
      usernsRemap: config['userns-remap'] || undefined,
      containerdStore: config.containerdStore,
      containerd: config.containerd.replace(/^unix:\/\//, '') || undefined,
      execRoot: config['exec-root'] || DEFAULT_EXEC_ROOT,
      hosts: config.hosts,
    };
  } catch (error) {
    throw new PreloaderError('DOCKER_CONFIG_INVALID', `${messageAt(path, error)}: the store is left alone`, {
      cause: error,
    });
  }
}

/** The socket of the containerd that dockerd starts itself (moby, libcontainerd/supervisor/remote_daemon.go, Start). */
export function ownContainerdSocket(execRoot: string): string {
  return join(execRoot, 'containerd/containerd.sock');
}

function withoutSlash(path: string): string {
  return path.replace(/(.)\/+$/, '$1');
}
