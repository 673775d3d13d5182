import { existsSync } from 'node:fs';
import { DiskFault } from '../disk/disk-fault.ts';
import type { Finding } from '../messages/finding.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readDisk } from '../disk/read-disk.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import type { ImageID } from '../docker/ids.ts';
import { isDockerRunning, lastStarted } from '../docker/instance.ts';
import { Store } from '../overlay2/store.ts';
import { clearTrial, overlayProblem, unsupportedStore } from '../overlay2/store-choice.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { unmount } from '../system/mount.ts';
import { notifyStatus } from '../system/notify.ts';
import { listNames, plural } from '../text/plural.ts';
import { apply, DockerStarted } from '../overlay2/apply/apply-steps.ts';
import { checkResult } from '../overlay2/check-result.ts';
import { checkMountRoot, type Config } from '../config/config.ts';
import { discover, isSameDisk, labelFilter, type Discovery, type FoundDisk } from './discover.ts';
import { hasLedger, ledgerFolder, readLedger, type LedgerState } from '../overlay2/ledger.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import { findMissing } from './missing-disks.ts';
import {
  findHiddenMounts,
  findLostDisks,
  mountDisks,
  mountedPaths,
  type MountedDisk,
  type MountOptions,
} from './mount-disks.ts';
import type { Plan } from '../overlay2/plan/make-plan.ts';
import { planWithRoom } from '../overlay2/plan/plan-with-room.ts';
import { requiredDigests } from '../config/required.ts';
import { takeLock } from '../overlay2/store-lock.ts';
import { Timings, type Phase } from './timings.ts';
import { discoverAwaited } from './wait.ts';

export interface PreloadOptions {
  /** Whether to wait for devices; not when somebody has waited in this boot. */
  readonly wait: boolean;
  /** `never`: only plan. `stopped`: change the store unless dockerd runs on it. */
  readonly change: 'never' | 'stopped';
  /** Tell the service manager nothing: a look in between, on behalf of a client. */
  readonly quiet?: boolean;
  /** What is mounted is seen by nobody else: a disk takes the place of one that was replaced, as when Docker starts. */
  readonly privateMounts?: boolean;
  /** What a look before this one has found. */
  readonly before?: Before;
}

/** What a daemon knows already. */
export interface Before {
  /** Disks as they were read: one that is mounted still is not read again. */
  readonly disks: readonly LoadedDisk[];
  /** Images that dockerd had. */
  readonly images: ReadonlySet<string>;
}

/** All that a run found out and did. */
export interface Preload {
  readonly dataRoot: string | undefined;
  readonly disks: readonly LoadedDisk[];
  /** Every device with a label of ours, those in use and those that were left out. */
  readonly candidates: readonly FoundDisk[];
  /** Undefined where the store could not be looked at. */
  readonly plan: Plan | undefined;
  /** The store as it was found, before the plan's steps; undefined where there is no plan. */
  readonly store?: Store | undefined;
  /** Of the images that wait for Docker's next start, those that dockerd had before. */
  readonly removed?: ReadonlySet<ImageID> | undefined;
  /** Whether the plan's steps were carried out. */
  readonly applied: boolean;
  readonly isDockerRunning: boolean;
  readonly findings: readonly Finding[];
  readonly timings: Timings;
}

/**
 * The whole of it, in its order: discover, mount, read, plan, apply, check. What goes wrong is a finding; nothing is
 * thrown, since docker.service waits for an answer.
 */
export async function preload(config: Config, options: PreloadOptions): Promise<Preload> {
  const run = new PreloadRun(config, options);
  try {
    await run.run();
  } catch (error) {
    run.findings.push({ code: error instanceof PreloaderError ? error.code : 'INTERNAL', message: messageOf(error) });
  }
  return run;
}

class PreloadRun implements Preload {
  dataRoot: string | undefined;
  disks: readonly LoadedDisk[] = [];
  candidates: readonly FoundDisk[] = [];
  plan: Plan | undefined;
  store: Store | undefined;
  removed: ReadonlySet<ImageID> | undefined;
  applied = false;
  isDockerRunning = false;
  readonly findings: Finding[] = [];
  readonly timings = new Timings();
  readonly #config: Config;
  readonly #options: PreloadOptions;
  /** Whether the store, and what is mounted already, may be changed. */
  #mayChange = false;
  /** Labels of disks that hold other content than was pinned. */
  readonly #unlike = new Set<string>();

  constructor(config: Config, options: PreloadOptions) {
    this.#config = config;
    this.#options = options;
  }

  #begin(phase: Phase, status: string): void {
    this.timings.begin(phase);
    if (this.#options.quiet !== true) notifyStatus(status);
  }

  async run(): Promise<void> {
    this.#begin('config', "reading dockerd's configuration");
    const daemonConfig = await readDaemonConfig(this.#config.dockerConfig);
    const dataRoot = this.#config.dataRoot ?? daemonConfig.dataRoot;
    this.dataRoot = dataRoot;
    checkMountRoot(this.#config, dataRoot);
    this.isDockerRunning = isDockerRunning(dataRoot);
    this.#mayChange = this.#options.change === 'stopped' && !this.isDockerRunning;
    const unsupported = await unsupportedStore(dataRoot, daemonConfig, async () =>
      (await import('../docker/dockerd-version.ts')).installedVersion(),
    );
    if (unsupported !== undefined) throw leftAlone(dataRoot, unsupported);

    this.#begin('discover', 'looking for disks');
    const discovery = this.#options.wait
      ? await discoverAwaited(this.#config, (what) => this.timings.waited(what))
      : discover(labelFilter(this.#config));
    this.findings.push(...discovery.findings);
    this.candidates = [...[...discovery.disks.values()].flat(), ...discovery.refused];

    this.#begin('mount', `mounting ${plural(discovery.disks.size, 'disk')}`);
    this.findings.push(...findLostDisks(this.#config.mountRoot, { mayUnmount: this.#mayChange }));
    const unlinked = this.#unlinkedDisks(dataRoot, discovery);
    const toMount = unlinked.length === 0 ? discovery : without(discovery, unlinked);
    const mounts = mountDisks(toMount, this.#config.mountRoot, {
      mayUnmount: this.#mayChange || this.#options.privateMounts === true,
      pinned: (label) => requiredDigests(this.#config.required, label),
      pinnedDigest: await this.#pinnedDigest(toMount),
      tell: ({ label, device }) => this.timings.mounted(label, device.path),
    });
    this.findings.push(...mounts.findings);
    const hidden = this.#options.change === 'never' ? [] : findHiddenMounts(mounts.disks);
    this.findings.push(...hidden);

    this.#begin('read', `reading ${plural(mounts.disks.length, 'disk')}`);
    for (const disk of mounts.disks) await this.#readDisk(disk);
    this.disks = [...this.disks, ...unlinked];
    this.findings.push(
      ...findMissing(this.#config, {
        missing: discovery.missing,
        disks: this.disks,
        candidates: this.candidates,
        unlike: this.#unlike,
      }),
    );
    // With links that lead into empty folders, dockerd would be worse off than without.
    if (hidden.length > 0) return;
    await this.#fillStore(dataRoot);
  }

  /** Whether a device with a pinned label is whole shows only when all of it is read, and is asked only where there are several. */
  async #pinnedDigest({ disks }: Discovery): Promise<MountOptions['pinnedDigest']> {
    const isAsked = [...disks].some(
      ([label, { length }]) => length > 1 && requiredDigests(this.#config.required, label) !== undefined,
    );
    return isAsked ? (await import('./pinned-disks.ts')).pinnedDigestOn(this.#config.required) : undefined;
  }

  /** Disks that `unlink` has let go since the look before: mounted again, they would be in the way of who removes us. */
  #unlinkedDisks(dataRoot: string, { disks }: Discovery): LoadedDisk[] {
    const before = this.#options.before?.disks ?? [];
    if (before.length === 0 || this.isDockerRunning || hasLedger(dataRoot)) return [];
    const present = mountedPaths();
    return before.flatMap(({ mounted, content }) => {
      const isThere = disks.get(mounted.label)?.some((found) => isSameDisk(found, mounted)) === true;
      return isThere && !present.has(mounted.path)
        ? [{ mounted: { ...mounted, adopted: false, isUnlinked: true }, content }]
        : [];
    });
  }

  async #readDisk(mounted: MountedDisk): Promise<void> {
    const { label, path } = mounted;
    const before = this.#options.before?.disks.find(
      (disk) => isSameDisk(disk.mounted, mounted) && disk.mounted.path === mounted.path,
    );
    if (before !== undefined && mounted.adopted) {
      this.findings.push(...before.content.findings);
      this.disks = [...this.disks, { mounted, content: before.content }];
      return;
    }
    try {
      const digests = requiredDigests(this.#config.required, label);
      const content =
        digests === undefined
          ? readDisk(label, new FolderReader(path))
          : (await import('../disk/pinned-reader.ts')).readPinnedDisk(label, path, digests);
      this.findings.push(...content.findings);
      this.disks = [...this.disks, { mounted, content }];
    } catch (error) {
      this.#leaveOut(mounted, error);
    }
  }

  #leaveOut(mounted: MountedDisk, error: unknown): void {
    const { label, device } = mounted;
    const code = error instanceof PreloaderError ? error.code : 'DISK_LAYOUT';
    this.findings.push({
      code,
      label,
      device: device.path,
      message: `disk ${label} (${device.path}) is left out: ${messageOf(error)}`,
    });
    if (code === 'DISK_CONTENT') this.#unlike.add(label);
    if (requiredDigests(this.#config.required, label) === undefined) return;
    // What stays in the store for a container has links to where the right disk would be: they must not lead to this one.
    if (this.#mayChange || !mounted.adopted) unmount(mounted.path, true);
  }

  async #fillStore(dataRoot: string): Promise<void> {
    this.#begin('plan', 'planning');
    // A host that never had a disk gets no folder of ours.
    const lock =
      this.#mayChange && (this.disks.length > 0 || existsSync(ledgerFolder(dataRoot)))
        ? await takeLock(dataRoot)
        : undefined;
    try {
      if (lock !== undefined) clearTrial(dataRoot);
      // Waiting for devices and the lock takes time in which somebody may have started it.
      this.isDockerRunning = isDockerRunning(dataRoot);
      const ledger = readLedger(dataRoot);
      for (const [index, finding] of this.findings.entries()) this.findings[index] = withImages(finding, ledger);
      this.findings.push(...ledgerFinding(ledger));
      // A disk may prove bad only when something of it is copied; then once more without it.
      for (
        let fault = await this.#fillFrom(dataRoot, ledger);
        fault !== undefined;
        fault = await this.#fillFrom(dataRoot, readLedger(dataRoot))
      ) {
        if (fault instanceof DockerStarted) {
          this.isDockerRunning = isDockerRunning(dataRoot);
          this.#begin('plan', 'planning anew: dockerd was started meanwhile');
          continue;
        }
        const { label } = fault;
        const faulty = this.disks.find((disk) => disk.content.label === label);
        if (faulty === undefined) throw fault;
        this.disks = this.disks.filter((disk) => disk !== faulty);
        this.#leaveOut(faulty.mounted, fault);
        this.#begin('plan', `planning without disk ${label}`);
      }
    } finally {
      lock?.release();
    }
  }

  /** @returns why it is to be done once more: what is wrong with a disk, where that came out, the store being as it was, or that dockerd was started */
  async #fillFrom(dataRoot: string, ledger: LedgerState): Promise<DiskFault | DockerStarted | undefined> {
    const known = this.findings.length;
    try {
      const started = lastStarted(dataRoot);
      const { store, planned } = await planWithRoom(dataRoot, {
        ledger,
        disks: this.disks.map(({ content, mounted }) => ({ content, rank: mounted.rank })),
        config: this.#config,
      });
      this.store = store;
      this.plan = planned;
      this.findings.push(...planned.findings);
      if (this.isDockerRunning && planned.steps.length > 0) this.findings.push(pendingFinding(planned));
      const willChange = this.#mayChange && !this.isDockerRunning;
      const pinned = this.disks.filter(({ content }) => content.pinned);
      if (pinned.length > 0)
        (await import('./pinned-disks.ts')).checkTarSplits(pinned, {
          steps: planned.steps,
          willChange,
          compared: this.#options.before?.disks ?? [],
        });
      if (!willChange) {
        const { removedFindings, removedImages } = await import('../overlay2/plan/removed-images.ts');
        this.removed = removedImages(planned, store, ledger.ledger, this.#options.before?.images);
        this.findings.push(...removedFindings(planned, this.removed));
        return undefined;
      }
      const problem = planned.steps.length > 0 ? overlayProblem(dataRoot) : undefined;
      if (problem !== undefined) throw leftAlone(dataRoot, problem);

      this.#begin('apply', `applying ${plural(planned.steps.length, 'change')}`);
      applySteps(dataRoot, planned, started);
      this.applied = true;

      this.#begin('check', 'checking the result');
      this.findings.push(...checkResult(planned.steps.length === 0 ? store : new Store(dataRoot), planned));
    } catch (error) {
      if (!isToRepeat(error)) throw error;
      this.findings.splice(known);
      return error;
    }
    return undefined;
  }
}

function without(discovery: Discovery, loaded: readonly LoadedDisk[]): Discovery {
  const labels = new Set(loaded.map(({ mounted }) => mounted.label));
  return { ...discovery, disks: new Map([...discovery.disks].filter(([label]) => !labels.has(label))) };
}

function leftAlone(dataRoot: string, why: string): PreloaderError {
  return new PreloaderError('STORE_UNSUPPORTED', `${dataRoot} is left alone: ${why}`);
}

const isToRepeat = (error: unknown): error is DiskFault | DockerStarted =>
  error instanceof DiskFault || error instanceof DockerStarted;

function applySteps(dataRoot: string, { steps }: Plan, started: number | undefined): void {
  try {
    apply(dataRoot, steps, started);
  } catch (error) {
    if (isToRepeat(error)) throw error;
    throw new PreloaderError(
      'STORE_WRITE',
      `${dataRoot}: ${messageOf(error)}: what was there before is still there, the rest is tried again at the next start`,
      { cause: error },
    );
  }
}

function ledgerFinding(ledger: LedgerState): Finding[] {
  if (ledger.state !== 'invalid') return [];
  return [
    {
      code: 'LEDGER_INVALID',
      message: `the ledger is made anew from the store and the disks: ${messageOf(ledger.cause)}`,
    },
  ];
}

/** Of a disk that can no longer be read, the ledger knows what was on it. */
function withImages(finding: Finding, { ledger }: LedgerState): Finding {
  if (finding.code !== 'DISK_LOST') return finding;
  const names = [...ledger.references]
    .filter(([, id]) => ledger.images.get(id) === finding.label)
    .map(([reference]) => reference)
    .toSorted();
  if (names.length === 0) return finding;
  return { ...finding, message: `${finding.message}; on it stand ${listNames(names)}` };
}

function pendingFinding({ steps }: Plan): Finding {
  return {
    code: 'DOCKER_RUNNING',
    message: `dockerd is running: ${plural(steps.length, 'change')} ${steps.length === 1 ? 'waits' : 'wait'} for its next start; run: systemctl restart docker`,
  };
}
