import type { Config } from '../config/config.ts';
import { MOBY, type DaemonConfig } from '../docker/daemon-config.ts';
import { hasContainerdStore, hasOverlay2, otherDriver } from '../overlay2/store-choice.ts';

/** Which stores get what is on the disks. */
export interface ChosenStores {
  readonly overlay2: boolean;
  /** The namespaces of containerd to fill. None if its store is not filled. */
  readonly namespaces: readonly string[];
  /** Why dockerd's namespace of containerd is not among them, although dockerd would have its images there. */
  readonly leftAlone: string | undefined;
}

/** Since this version dockerd has its images in containerd, where nothing says or shows otherwise. */
const CONTAINERD_SINCE = 29;
/** Names of drivers of dockerd's own, which is what `storage-driver` chooses then. */
const GRAPH_DRIVERS: ReadonlySet<string> = new Set([
  'overlay2',
  'vfs',
  'btrfs',
  'zfs',
  'fuse-overlayfs',
  'overlay',
  'aufs',
  'devicemapper',
]);

/**
 * Chooses the stores to fill. Under `auto` it follows dockerd: what it is told, what it has been on in this data root,
 * and what it takes by itself (moby, daemon/image_store_choice.go, determineImageStoreChoice; daemon/daemon.go before
 * 29). Making `overlay2/` on a fresh data root would change that, so nothing may be made before this is known.
 * @param version which dockerd will start, or null; asked only where that decides
 */
export async function chooseStores(
  { store, namespaces }: Pick<Config, 'store' | 'namespaces'>,
  daemon: DaemonConfig,
  dataRoot: string,
  version: () => Promise<string | null> = dockerdVersion,
): Promise<ChosenStores> {
  if (store === 'overlay2') return { overlay2: true, namespaces: [], leftAlone: undefined };
  if (store === 'containerd') return inContainerd(false, namespaces, daemon);
  const docker = await storeOfDocker(daemon, dataRoot, version);
  if (store === 'auto')
    return docker === 'containerd'
      ? inContainerd(false, namespaces, daemon)
      : { overlay2: true, namespaces: namespaces.filter((name) => name !== MOBY), leftAlone: undefined };
  // Where nothing but our overlay2/ would make dockerd take that, there is none.
  const isFree = docker === 'containerd' && daemon.containerdStore === undefined && !hasOverlay2(dataRoot);
  return inContainerd(!isFree, namespaces, daemon);
}

/** What does not work with dockerd's images in containerd is refused there, too. */
function inContainerd(overlay2: boolean, namespaces: readonly string[], daemon: DaemonConfig): ChosenStores {
  const leftAlone = namespaces.includes(MOBY) ? whyNot(daemon) : undefined;
  return {
    overlay2,
    namespaces: leftAlone === undefined ? namespaces : namespaces.filter((name) => name !== MOBY),
    leftAlone,
  };
}

function whyNot({ usernsRemap, storageDriver, containerdStore }: DaemonConfig): string | undefined {
  if (usernsRemap !== undefined)
    return `userns-remap is set to '${usernsRemap}', with which dockerd does not have its images in containerd`;
  if (
    storageDriver !== undefined &&
    storageDriver !== 'overlayfs' &&
    (containerdStore === true || !GRAPH_DRIVERS.has(storageDriver))
  )
    return `expected the snapshotter 'overlayfs' (\`storage-driver\`), found '${storageDriver}'`;
  return undefined;
}

async function storeOfDocker(
  { containerdStore, storageDriver, usernsRemap }: DaemonConfig,
  dataRoot: string,
  version: () => Promise<string | null>,
): Promise<'overlay2' | 'containerd'> {
  if (containerdStore !== undefined) return containerdStore ? 'containerd' : 'overlay2';
  if (usernsRemap !== undefined || (storageDriver !== undefined && GRAPH_DRIVERS.has(storageDriver))) return 'overlay2';
  if (storageDriver === undefined) {
    if (hasOverlay2(dataRoot) || otherDriver(dataRoot) !== undefined) return 'overlay2';
  }
  const major = Number.parseInt((await version()) ?? '', 10);
  return major >= CONTAINERD_SINCE || (Number.isNaN(major) && hasContainerdStore(dataRoot)) ? 'containerd' : 'overlay2';
}

async function dockerdVersion(): Promise<string | null> {
  const { packagedVersion } = await import('../docker/packaged-version.ts');
  return packagedVersion() ?? (await import('../docker/dockerd-version.ts')).installedVersion();
}
