import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { ContainerdPlace } from '../containerd/containerd-of.ts';
import { ownContainerdSocket, readDaemonConfig, type DaemonConfig } from '../docker/daemon-config.ts';

/** What tells which containerd has the store. */
export interface ContainerdSearch {
  readonly config: Config;
  readonly daemon: Pick<DaemonConfig, 'containerd' | 'execRoot'>;
  readonly dataRoot: string;
}

/** Where packages and administrators have units. */
const UNIT_FOLDERS = ['/etc', '/run', '/usr/local/lib', '/usr/lib', '/lib'];

/** Whether there is any socket on which a containerd may listen. This costs next to nothing. */
export function mayRun({ config, daemon }: ContainerdSearch): boolean {
  const own = ownContainerdSocket(daemon.execRoot);
  return [config.containerdAddress, daemon.containerd ?? '', own].some((path) => existsSync(path));
}

/**
 * Loads what starts a private containerd, if one is needed. A runtime that cannot do that leaves it to another one,
 * which begins anew. So this comes before anything is changed.
 */
export async function loadPrivate(search: ContainerdSearch): Promise<void> {
  // A failure is told later, where the containerd is needed.
  const place = await placeOf(search).catch(() => undefined);
  if (place !== undefined && privateRootOf(search, place) !== undefined)
    await import('../containerd/private/private-containerd.ts');
}

/** The socket of the containerd that has the store, or undefined while none runs. */
export async function runningContainerd(search: ContainerdSearch): Promise<string | undefined> {
  if (!mayRun(search)) return undefined;
  const place = await placeOf(search);
  return place.is === 'there' ? place.address : undefined;
}

/** The same, with what dockerd's configuration says now. */
export async function containerdAddress(config: Config, dataRoot: string): Promise<string | undefined> {
  return runningContainerd({ config, daemon: await readDaemonConfig(config.dockerConfig), dataRoot });
}

/**
 * Does some work with the containerd that has the store. If dockerd or Kubernetes starts that only later, a private one
 * serves on its root meanwhile.
 * @param work gets the socket, and of a private one what CRI is configured with
 * @throws PreloaderError; what `work` throws
 */
export async function withContainerd<Result>(
  search: ContainerdSearch,
  work: (address: string, criSnapshotter?: string) => Promise<Result>,
): Promise<Result> {
  const { containerdConfig, containerdProgram } = search.config;
  const place = await placeOf(search);
  if (place.is === 'there') return work(place.address);
  const root = privateRootOf(search, place);
  if (root === undefined) return work(search.config.containerdAddress);
  const { withPrivateContainerd } = await import('../containerd/private/private-containerd.ts');
  const runRoot = dirname(search.config.statusSocket);
  return withPrivateContainerd(
    { root, configFile: containerdConfig, program: containerdProgram, runRoot },
    (address, { criSnapshotter }) => work(address, criSnapshotter),
  );
}

/** Where a private containerd is to serve, if one is needed. */
function privateRootOf({ config }: ContainerdSearch, place: ContainerdPlace): string | undefined {
  if (place.is === 'there') return undefined;
  // dockerd starts one of its own only where the system has none.
  return config.containerdRoot ?? (place.is === 'managed' && !hasContainerdUnit() ? place.root : undefined);
}

async function placeOf({ config, daemon, dataRoot }: ContainerdSearch): Promise<ContainerdPlace> {
  const { containerdOf } = await import('../containerd/containerd-of.ts');
  return containerdOf({
    address: config.containerdAddress,
    dockerdContainerdOption: daemon.containerd,
    dataRoot,
    execRoot: daemon.execRoot,
  });
}

/** Looks in systemd's order. A masked unit, which is a link to /dev/null or an empty file, counts as none. */
function hasContainerdUnit(): boolean {
  const unit = UNIT_FOLDERS.map((folder) => join(folder, 'systemd/system/containerd.service')).find((path) =>
    existsSync(path),
  );
  return unit !== undefined && statSync(unit).size > 0;
}
