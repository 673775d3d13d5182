import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { fillContainerd, type ContainerdFill, type FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { offerDisk, type OfferedDisk } from '../../../agent/containerd/namespace-offer.ts';
import { FolderReader } from '../../../agent/disk/folder-reader.ts';
import { readDisk } from '../../../agent/disk/read-disk.ts';
import { startContainerd, type ContainerdProcess } from '../../support/containerd.ts';
import { startDockerd, type Dockerd } from '../../support/dockerd.ts';
import type { DockerdVersion } from '../../support/dockerd-version.ts';
import { tempTree, unmountBelow } from '../../support/temp-tree.ts';
import { madeDisk, type Form } from './disks.ts';

/** Where a disk is mounted. */
export interface DiskAt {
  readonly name: string;
  readonly mounted: string;
  readonly rank: number;
}

/** A mounted disk as the agent takes it. */
export function offeredAt({ name, mounted, rank }: DiskAt): OfferedDisk {
  return offerDisk({ content: readDisk(`dpl-${name}`, new FolderReader(mounted)), rank }, mounted);
}

/** A containerd, the disks that are attached to its machine, and what the agent does there; all of it private. */
export class ContainerdSite {
  readonly folder: string;
  readonly version: DockerdVersion;
  containerd: ContainerdProcess;
  dockerd: Dockerd | undefined;
  readonly #disks = new Map<string, { readonly offered: OfferedDisk; readonly at: DiskAt }>();
  readonly #start: () => Promise<ContainerdProcess>;
  readonly #remove: () => Promise<void>;
  #rank = 0;

  private constructor(
    version: DockerdVersion,
    folder: string,
    containerd: ContainerdProcess,
    { start, remove }: { readonly start: () => Promise<ContainerdProcess>; readonly remove: () => Promise<void> },
  ) {
    this.version = version;
    this.folder = folder;
    this.containerd = containerd;
    this.#start = start;
    this.#remove = remove;
  }

  /**
   * @param more TOML of containerd's configuration
   * @param options.cri whether it serves Kubernetes, too
   * @param options.before done before it starts
   */
  static async make(
    version: DockerdVersion,
    more = '',
    options: { readonly cri?: boolean; readonly before?: (folder: string) => Promise<unknown> } = {},
  ): Promise<ContainerdSite> {
    const tree = await tempTree('dpl-ctd');
    await options.before?.(tree.path);
    const start = (): Promise<ContainerdProcess> => startContainerd(version, tree.path, more, options);
    return new ContainerdSite(version, tree.path, await start(), { start, remove: () => tree.remove() });
  }

  get dataRoot(): string {
    return path.join(this.folder, 'docker');
  }

  get farmRoot(): string {
    return path.join(this.folder, 'farm');
  }

  /**
   * Attaches a disk.
   * @param options.place name of the folder that it is mounted on
   * @param options.tag of the image that Kubernetes makes pods of
   */
  async attach(
    name: string,
    { form = 'gzip', place = name, tag }: { readonly form?: Form; readonly place?: string; readonly tag?: string } = {},
  ): Promise<void> {
    const made = await madeDisk(name, tag);
    await this.attachFile(made[form], name, { place });
  }

  /**
   * Attaches a disk of a file.
   * @param name of the disk, as it may be detached by
   * @param options.rank above others by default
   */
  async attachFile(
    file: string,
    name: string,
    { place = name, rank = this.#rank++ }: { readonly place?: string; readonly rank?: number } = {},
  ): Promise<void> {
    const mounted = path.join(this.folder, 'disks', place);
    await mkdir(mounted, { recursive: true });
    await execa('mount', ['-o', 'ro,loop,nodev,nosuid,noexec', file, mounted]);
    const at = { name, mounted, rank };
    this.#disks.set(name, { at, offered: offeredAt(at) });
  }

  /** Takes a disk away, mount and all. */
  async detach(name: string): Promise<void> {
    const disk = this.#disks.get(name);
    if (disk === undefined) throw new Error(`expected an attached disk, found ${name}`);
    this.#disks.delete(name);
    await unmountBelow(disk.at.mounted);
  }

  get disks(): readonly OfferedDisk[] {
    return [...this.#disks.values()].map(({ offered }) => offered);
  }

  /** What the agent does. */
  fill(more: Partial<FillOptions> = {}): Promise<ContainerdFill> {
    return fillContainerd({ ...this.#options(), disks: this.disks, ...more });
  }

  /** The same in a process of its own that is killed at its n-th call. @returns whether it was */
  async killedFill(killAt: number, more: Partial<FillOptions> = {}): Promise<boolean> {
    const { signal, failed, all } = await this.#disturbedFill(killAt, more);
    if (failed && signal !== 'SIGKILL') throw new Error(all);
    return failed;
  }

  /**
   * The same, and at its n-th call all room that is left goes into a file. @returns what it says, nothing where it ends
   * well
   */
  async fullFill(fullAt: number, filler: string): Promise<string> {
    const { failed, all } = await this.#disturbedFill(fullAt, {}, filler);
    return failed ? all : '';
  }

  /**
   * The same, and at its n-th call containerd is killed.
   * @returns whether it was, and what the run says where it fails
   */
  async abandonedFill(
    killAt: number,
    more: Partial<FillOptions> = {},
  ): Promise<{ readonly wasKilled: boolean; readonly said: string }> {
    const { failed, all } = await this.#disturbedFill(killAt, more, String(this.containerd.pid));
    return { wasKilled: all.startsWith('reached'), said: failed ? all : '' };
  }

  async #disturbedFill(
    at: number,
    more: Partial<FillOptions>,
    ...args: readonly string[]
  ): Promise<{ readonly signal: string | undefined; readonly failed: boolean; readonly all: string }> {
    const disks = more.disks ?? [...this.#disks.values()].map((disk) => disk.at);
    const { signal, failed, all } = await execa(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        path.join(import.meta.dirname, 'killed-fill.ts'),
        String(at),
        JSON.stringify({ ...this.#options(), ...more, disks }),
        ...args,
      ],
      { reject: false, all: true, stdin: 'ignore', timeout: 60_000 },
    );
    return { signal, failed, all };
  }

  #options(): Omit<FillOptions, 'disks'> {
    return {
      address: this.containerd.address,
      namespaces: ['moby'],
      dataRoot: this.dataRoot,
      farmRoot: this.farmRoot,
      config: { conflicts: 'user', removedImages: 'restore' },
      connectTimeoutMs: 10_000,
      mode: 'apply',
    };
  }

  /** @param mirror where it finds what is on no registry that is named: `127.0.0.1:PORT` */
  async startDockerd(mirror?: string): Promise<Dockerd> {
    this.dockerd = await startDockerd({
      version: this.version,
      dataRoot: this.dataRoot,
      folder: path.join(this.folder, 'd'),
      extraConfig: {
        containerd: this.containerd.address,
        features: { 'containerd-snapshotter': true },
        ...(mirror === undefined ? {} : { 'registry-mirrors': [`http://${mirror}`] }),
      },
    });
    return this.dockerd;
  }

  /** Starts a containerd again in the same folder, of the same configuration. */
  async startContainerd(): Promise<void> {
    this.containerd = await this.#start();
  }

  async remove(): Promise<void> {
    await this.dockerd?.kill();
    await this.containerd.end();
    await unmountBelow(this.folder);
    await this.#remove();
  }
}

/** Symlinks of ours: in the farm, and to it. */
export async function linksBelow(folder: string): Promise<string[]> {
  const farm = path.join(folder, 'farm');
  const isOurs = ['(', '-lname', `${farm}/*`, '-o', '-path', `${farm}/*`, ')'];
  const { stdout } = await execa('find', [
    ...[path.join(folder, 'containerd'), farm].filter(existsSync),
    '-type',
    'l',
    ...isOurs,
    '-printf',
    '%P -> %l\n',
  ]);
  return stdout === '' ? [] : stdout.split('\n').toSorted();
}

/** What a run has done, in the words of its steps. */
export function stepsOf({ plans }: ContainerdFill): string[] {
  return plans.flatMap(({ steps }) => steps.map((step) => step.do));
}

/** Codes of what a run has to tell, in order. */
export function codesOf({ findings }: ContainerdFill): string[] {
  return findings.map(({ code }) => code);
}
