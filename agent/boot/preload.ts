import { setImmediate } from 'node:timers/promises';
import { checkMountRoot, type Config } from '../config/config.ts';
import { requiredDigests } from '../config/required.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import type { Finding } from '../messages/finding.ts';
import { notifyStatus } from '../system/notify.ts';
import { plural } from '../text/plural.ts';
import { isSameDisk, labelFilter, type Discovery, type FoundDisk } from './discover.ts';
import { failureOf, fillStore, leftAlone, type Filled } from './fill-store.ts';
import { storeIn, type ImageStore } from './image-store.ts';
import { isProven, loadDisk } from './load-disk.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { NamespacesFilled } from './fill-namespaces.ts';
import { findMissing } from './missing-disks.ts';
import { mountDisks, type MountOptions } from './mount-disks.ts';
import { findHiddenMounts, findLostDisks, mountedPaths } from './present-mounts.ts';
import { Timings, type Phase } from './timings.ts';
import { discoverAll, discoverAwaited } from './wait.ts';
import { chooseStores } from './which-stores.ts';
import { loadPrivate, mayRun } from './with-containerd.ts';

export interface PreloadOptions {
  /** Whether to wait for devices, which is not needed again if somebody has waited in this boot. */
  readonly wait: boolean;
  /** `never`: only plan. `stopped`: change the store unless dockerd runs on it. */
  readonly change: 'never' | 'stopped';
  /**
   * What of containerd's store may be changed. containerd may run, and so may Docker. `farm`: only what its links lead
   * to, if it does not run yet. By default nothing if `change` is `never`, and otherwise all of it.
   */
  readonly changeContainerd?: 'never' | 'farm' | 'all';
  /** Names in containerd's namespaces that a prune has taken: they do not count as removed. */
  readonly pruned?: ReadonlySet<string>;
  /** The only store that is changed, of those that are to be filled. The other is only looked at. */
  readonly only?: 'overlay2' | 'containerd' | undefined;
  /** Whether to tell the service manager nothing, because this is a look on behalf of a client. */
  readonly quiet?: boolean;
  /**
   * Whether nobody else sees our mounts. Then a disk may take the place of one that was replaced, as when Docker
   * starts.
   */
  readonly privateMounts?: boolean;
  /** What an earlier look found. */
  readonly before?: Before;
}

/** What our daemon knows from an earlier look. */
export interface Before {
  /** Disks as they were read. One that is still mounted is not read again. */
  readonly disks: readonly LoadedDisk[];
  /** Images that dockerd had. */
  readonly images: ReadonlySet<string>;
}

/** All that a run found out and did. */
export interface Preload extends Filled {
  readonly dataRoot: string | undefined;
  /** Every device with a label of ours, whether in use or left out. */
  readonly candidates: readonly FoundDisk[];
  readonly timings: Timings;
  /** Undefined where containerd's store is not filled. */
  readonly containerd?: NamespacesFilled | undefined;
}

/**
 * The whole pipeline in its order: discover, mount, read, plan, apply, check. What goes wrong becomes a finding.
 * Nothing is thrown, because docker.service waits for an answer.
 */
export async function preload(config: Config, options: PreloadOptions): Promise<Preload> {
  const { before = { disks: [], images: new Set() } } = options;
  const timings = new Timings();
  const begin = (phase: Phase, status: string): void => {
    timings.begin(phase);
    if (options.quiet !== true) notifyStatus(status);
  };
  // In a look on behalf of a client, whatever else this process follows gets its turn in between.
  const letOthers = (): Promise<void> | undefined => (options.quiet === true ? setImmediate() : undefined);
  let run = nothingFound(timings);
  const add = (findings: readonly Finding[], more: Partial<Preload> = {}): void => {
    run = { ...run, ...more, findings: [...run.findings, ...findings] };
  };
  try {
    begin('config', "reading dockerd's configuration");
    const daemonConfig = await readDaemonConfig(config.dockerConfig);
    const dataRoot = config.dataRoot ?? daemonConfig.dataRoot;
    const store = storeIn(dataRoot);
    add([], { dataRoot });
    checkMountRoot(config, dataRoot);
    add([], { isDockerRunning: store.isDaemonRunning() });
    const chosen = await chooseStores(config, daemonConfig, dataRoot);
    const hasNamespaces = chosen.namespaces.length > 0;
    const unsupported = chosen.overlay2 ? await store.unsupported(daemonConfig, hasNamespaces) : undefined;
    const refusals = [unsupported, chosen.leftAlone].flatMap((why) =>
      why === undefined ? [] : leftAlone(dataRoot, why),
    );
    const overlay2 = chosen.overlay2 && unsupported === undefined;
    if (!overlay2 && !hasNamespaces && refusals[0] !== undefined) throw refusals[0];
    add(refusals.map(failureOf));
    const isLeft = options.change === 'never' || options.only === 'overlay2';
    const changeContainerd = options.changeContainerd ?? (isLeft ? 'never' : 'all');
    if (hasNamespaces && changeContainerd === 'all') await loadPrivate({ config, daemon: daemonConfig, dataRoot });
    const mayChange = options.change === 'stopped' && options.only !== 'containerd' && !run.isDockerRunning;
    // Containers that run have mounts of their own (fs/overlayfs/super.c, ovl_get_layers). Those that dockerd starts on
    // its own store need ours, because that does not change meanwhile. containerd's store leads elsewhere after this run.
    const mayRelink = hasNamespaces && changeContainerd !== 'never';
    const isNeeded =
      (run.isDockerRunning && (overlay2 || store.hasOurs())) ||
      (hasNamespaces && !mayRelink && mayRun({ config, daemon: daemonConfig, dataRoot }));
    const mayUnmount = (options.change === 'stopped' || mayRelink) && !isNeeded;

    await letOthers();
    begin('discover', 'looking for disks');
    const where = { ...config, dataRoot };
    const discovery = options.wait
      ? await discoverAwaited(where, (what) => timings.waited(what))
      : await discoverAll(where, labelFilter(config));
    add(discovery.findings, { candidates: [...[...discovery.disks.values()].flat(), ...discovery.refused] });

    await letOthers();
    begin('mount', `mounting ${plural(discovery.disks.size, 'disk')}`);
    add(findLostDisks(config.mountRoot, { mayUnmount }));
    // Docker does not run where its own store was unlinked.
    const mayBeUnlinked = !overlay2 || !run.isDockerRunning;
    const unlinked = mayBeUnlinked ? await unlinkedDisks(before.disks, discovery, { store, dataRoot }) : [];
    const toMount = without(discovery, unlinked);
    const mounts = mountDisks(toMount, config.mountRoot, {
      mayUnmount: mayUnmount || options.privateMounts === true,
      pinned: (label) => requiredDigests(config.required, label) ?? (config.trustedKeys && 'signed'),
      pinnedDigest: await pinnedDigest(toMount, config),
      mountSource: config.sources.length === 0 ? undefined : (await import('./mount-source.ts')).mountSource,
      tell: ({ label, device }) => timings.mounted(label, device.path),
    });
    add(mounts.findings);
    const hidden = options.change === 'never' ? [] : findHiddenMounts(mounts.disks);
    add(hidden);

    begin('read', `reading ${plural(mounts.disks.length, 'disk')}`);
    const unlike = new Set<string>();
    for (const mounted of mounts.disks) {
      await letOthers();
      const { disk, findings } = await loadDisk(mounted, {
        ...config,
        before: before.disks,
        mayUnmount,
      });
      add(findings, disk === undefined ? {} : { disks: [...run.disks, disk] });
      if (disk === undefined && findings.some(({ code }) => code === 'DISK_CONTENT')) unlike.add(mounted.label);
    }
    add([], { disks: [...run.disks, ...unlinked] });
    add(findMissing(config, { missing: discovery.missing, disks: run.disks, candidates: run.candidates, unlike }));
    // Links into empty folders would be worse for dockerd than no links.
    if (hidden.length > 0) return run;
    await letOthers();
    if (overlay2) run = { ...run, ...(await fillStore(run, { store, dataRoot, config, mayChange, before, begin })) };
    if (hasNamespaces) {
      await letOthers();
      const { fillNamespaces } = await import('./fill-namespaces.ts');
      const { pruned } = options;
      const containerd = await fillNamespaces(run.disks, {
        config,
        daemon: daemonConfig,
        dataRoot,
        namespaces: chosen.namespaces,
        change: changeContainerd,
        begin,
        ...(pruned === undefined ? {} : { pruned }),
      });
      add(containerd.findings, { containerd });
    }
    return run;
  } catch (error) {
    return { ...run, findings: [...run.findings, failureOf(error)] };
  }
}

/** A run that has found nothing yet. */
export function nothingFound(timings: Timings): Preload {
  return {
    dataRoot: undefined,
    disks: [],
    candidates: [],
    plan: undefined,
    applied: false,
    isDockerRunning: false,
    findings: [],
    timings,
  };
}

/**
 * What tells whether a device is whole, by reading all of it. That is needed only if several devices have one label
 * that is pinned, or whose disk must be signed.
 */
async function pinnedDigest({ disks }: Discovery, config: Config): Promise<MountOptions['pinnedDigest']> {
  const isAsked = [...disks].some(([label, { length }]) => length > 1 && isProven(label, config));
  return isAsked ? (await import('./pinned-digest.ts')).pinnedDigestOn(config) : undefined;
}

/**
 * Disks that `unlink` has unmounted since the earlier look. Mounted again, they would be in the way of removing the
 * program.
 */
async function unlinkedDisks(
  before: readonly LoadedDisk[],
  { disks }: Discovery,
  { store, dataRoot }: { readonly store: ImageStore; readonly dataRoot: string },
): Promise<LoadedDisk[]> {
  if (before.length === 0 || store.hasOurs()) return [];
  const { hasContainerdLedger } = await import('../containerd/containerd-ledger.ts');
  if (hasContainerdLedger(dataRoot)) return [];
  const present = mountedPaths();
  return before.flatMap(({ mounted, content }) => {
    const isThere = disks.get(mounted.label)?.some((found) => isSameDisk(found, mounted)) === true;
    return isThere && !present.has(mounted.path)
      ? [{ mounted: { ...mounted, adopted: false, isUnlinked: true }, content }]
      : [];
  });
}

function without(discovery: Discovery, loaded: readonly LoadedDisk[]): Discovery {
  if (loaded.length === 0) return discovery;
  const labels = new Set(loaded.map(({ mounted }) => mounted.label));
  return { ...discovery, disks: new Map([...discovery.disks].filter(([label]) => !labels.has(label))) };
}
