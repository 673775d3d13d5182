import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { agentCommand, type AgentResult } from '../support/agent.ts';
import { askFor, tell } from '../support/docker-api.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { attach, copyWithLabel, type LoopDevice } from '../support/loop-device.ts';
import { mountsBelow, unmountBelow } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { makeSite, type Site } from '../store/site.ts';
import { startDaemon, type SiteDaemon } from '../store/site-daemon.ts';
import { DataRoot, type StoredLayer } from './data-root.ts';
import { Model, type AttachedDisk, type Seen, type Settings } from './model.ts';
import { saysOf, type LifeDisk, type Universe } from './universe.ts';

/** A container of the user's. */
export interface Container {
  readonly id: string;
  readonly image: string;
  /** What it has written into its own file and into its volume, once it has run. */
  readonly says: string;
  readonly volume: string;
  readonly hasRun: boolean;
  /** Runs until it is removed, `--restart always`. */
  readonly stays: boolean;
}

/** One machine with its dockerd, its disks, and what its user has. */
export class Guest {
  readonly site: Site;
  readonly universe: Universe;
  readonly store: DataRoot;
  readonly model = new Model();
  readonly containers = new Map<string, Container>();
  /** What `/app` of an image says, where that is known. */
  readonly says = new Map<string, string>();
  settings: Settings = { conflicts: 'user', removedImages: 'restore', prunedImages: 'restore' };
  /** Whether `labels` is one glob: then priority and label decide between disks, else the order in which they came. */
  isGlob = false;
  /** Whether the user has pulled, or had layers of his own: what dockerd or a disk knows of their registries stays. */
  hasSources = false;
  readonly #disks = new Map<string, LifeDisk>();
  /** Second devices with the label of a disk: of the same content, or of another. */
  readonly #twins = new Map<string, { readonly disk: LifeDisk; readonly loop: LoopDevice }>();
  #dockerd: Dockerd | undefined;
  #daemon: SiteDaemon | undefined;
  /** Whether the daemon brings back what a prune takes. */
  #follows = false;
  /** Whether the last run of the agent was killed. */
  #wasKilled = false;
  #number = 0;

  private constructor(site: Site, universe: Universe) {
    this.site = site;
    this.universe = universe;
    this.store = new DataRoot(site.dataRoot);
    for (const image of universe.images.values()) this.says.set(image.id, saysOf(image));
  }

  static async make(version: DockerdVersion, universe: Universe): Promise<Guest> {
    return new Guest(await makeSite(version), universe);
  }

  get dockerd(): Dockerd {
    assert.ok(this.#dockerd, 'dockerd runs');
    return this.#dockerd;
  }

  get socket(): string {
    return this.dockerd.socket;
  }

  tell(method: string, place: string, body?: unknown): Promise<Buffer> {
    return tell(this.socket, method, place, body);
  }

  get<T>(place: string): Promise<T> {
    return askFor<T>(this.socket, place);
  }

  async start(): Promise<void> {
    this.#dockerd = await this.site.start();
  }

  get hasDaemon(): boolean {
    return this.#daemon !== undefined;
  }

  /** The agent as its unit starts it: it fills the store, and stays. */
  async startDaemon(): Promise<void> {
    const status = path.join(this.site.folder, 'status/status.json');
    await rm(status, { force: true });
    this.#wasKilled = false;
    this.#daemon = await startDaemon(this.site);
    await until('a status', () => existsSync(status));
  }

  async stopDaemon(signal: NodeJS.Signals): Promise<void> {
    await this.#daemon?.stop(signal);
    this.#daemon = undefined;
    this.#follows = false;
  }

  /** A daemon follows a dockerd that has anything of ours. */
  async follow(): Promise<void> {
    this.#follows =
      this.#daemon !== undefined && this.settings.prunedImages === 'restore' && this.model.ofDisks().length > 0;
    if (this.#follows) await this.#daemon?.follows(this.dockerd);
  }

  get bringsBack(): boolean {
    return this.#follows;
  }

  /**
   * Prunes, and waits until what the prune has taken of the disks' is back: tags and images whose layers are there. An
   * image that comes back later would look like one of the user's.
   */
  async prune(place: string): Promise<void> {
    const tags = this.model.ofDisks().filter(([name]) => !name.includes('@'));
    // With a digest alone an image has no name that comes back before Docker's next start, but it comes back itself.
    const put = new Set(this.model.ofDisks().map(([, image]) => image));
    const tops = new Map([...put].map((image) => [image, this.store.chainsOf(image).at(-1) ?? '']));
    // What was removed by hand just before counts as the prune's.
    if (this.bringsBack) await new Promise((resolve) => setTimeout(resolve, 300));
    await this.tell('POST', place);
    if (!this.bringsBack) return;
    const layers = this.store.layers();
    const isKept = (image: string): boolean => layers.has(tops.get(image) ?? '');
    let missing: readonly string[] = [];
    const took = await until('what a prune took is back', async () => {
      const { names, images } = await this.seen();
      missing = [
        ...tags.filter(([name, image]) => isKept(image) && names.get(name) !== image).map(([name]) => name),
        ...[...put].filter((image) => isKept(image) && !images.has(image)),
      ];
      return missing.length === 0;
    }).catch((error: unknown) =>
      assert.fail(`${missing.join(', ')} is not back after a prune: ${String(error)}\n${this.#daemon?.log() ?? ''}`),
    );
    assert.ok(took < 5000, `what a prune took is back after ${took} ms`);
    // Nothing comes after that.
    if (took > 40) await new Promise((resolve) => setTimeout(resolve, 300));
  }

  async stop(): Promise<void> {
    const dockerd = this.#dockerd;
    this.#dockerd = undefined;
    await dockerd?.stop();
  }

  async kill(): Promise<void> {
    const dockerd = this.#dockerd;
    this.#dockerd = undefined;
    await dockerd?.kill();
  }

  /** The machine is off: nothing stays mounted. */
  async unmount(): Promise<void> {
    await unmountBelow(this.site.dataRoot);
    await unmountBelow(this.site.mountRoot);
    // What lies in /run on a machine goes with the power: a containerd that was killed would trip over what it left
    // there.
    const run = path.join(this.site.folder, 'run/exec');
    await unmountBelow(run);
    await rm(run, { recursive: true, force: true });
    await rm(path.join(this.site.folder, 'status'), { recursive: true, force: true });
  }

  /** A number that nothing else of this guest's has. */
  fresh(): number {
    this.#number += 1;
    return this.#number;
  }

  /** What dockerd lists. */
  async seen(): Promise<Seen> {
    const list =
      await this.get<
        readonly { Id: string; RepoTags: readonly string[] | null; RepoDigests: readonly string[] | null }[]
      >('/images/json?all=1');
    const names = list.flatMap(({ Id, RepoTags, RepoDigests }) =>
      [...(RepoTags ?? []), ...(RepoDigests ?? [])]
        .filter((name) => !name.startsWith('<none>'))
        .map((name) => [name, Id] as const),
    );
    return { names: new Map(names), images: new Set(list.map(({ Id }) => Id)) };
  }

  /** What is in its files, while it does not run. */
  onDisk(): Seen {
    return { names: this.store.names(), images: new Set(this.store.images().keys()) };
  }

  get disks(): ReadonlyMap<string, LifeDisk> {
    return this.#disks;
  }

  /** Labels that a second device carries. */
  twins(): { readonly same: string[]; readonly other: string[] } {
    const names = [...this.#twins.keys()];
    const isSame = (name: string): boolean => this.#twins.get(name)?.disk === this.#disks.get(name);
    return { same: names.filter(isSame), other: names.filter((name) => !isSame(name)) };
  }

  /**
   * Those that are to be in use, in rising precedence. Of two with one label and other content neither is, unless one
   * is mounted.
   */
  attached(): AttachedDisk[] {
    const { other } = this.twins();
    const mounted = mountsBelow(this.site.mountRoot);
    const isMounted = (name: string): boolean =>
      mounted.includes(path.join(this.site.mountRoot, this.site.labelOf(name)));
    const all = [...this.#disks]
      .filter(([name]) => !other.includes(name) || isMounted(name))
      .map(([name, disk]) => ({ label: this.site.labelOf(name), disk }));
    return this.isGlob
      ? all.toSorted((a, b) => a.disk.priority - b.disk.priority || (a.label < b.label ? -1 : 1))
      : all;
  }

  async attach(name: string, disk: LifeDisk): Promise<void> {
    await this.site.attach(disk.file, name);
    this.#disks.set(name, disk);
  }

  async attachTwin(name: string, disk: LifeDisk): Promise<void> {
    const copy = path.join(this.site.folder, `${name}-twin.ext4`);
    await copyWithLabel(disk.file, copy, this.site.labelOf(name));
    this.#twins.set(name, { disk, loop: await attach(copy, { copy: true }) });
  }

  async detachTwin(name: string): Promise<void> {
    await this.#twins.get(name)?.loop.detach();
    this.#twins.delete(name);
  }

  async detach(name: string): Promise<void> {
    await this.detachTwin(name);
    await this.site.detach(name);
    this.#disks.delete(name);
  }

  configure(): Promise<void> {
    return this.site.configure({ ...this.settings, ...(this.isGlob ? { labels: [this.site.labelOf('*')] } : {}) });
  }

  /** Runs `apply` and kills it. @returns whether it had ended before */
  async killedApply(afterMs: number): Promise<boolean> {
    const [command, ...args] = agentCommand();
    const running = execa(command, [...args, 'apply', '--config', path.join(this.site.folder, 'config.json')], {
      reject: false,
      all: true,
      stdin: 'ignore',
    });
    const timer = setTimeout(() => running.kill('SIGKILL'), afterMs);
    const { signal } = await running;
    clearTimeout(timer);
    this.#wasKilled = signal !== undefined;
    return signal === undefined;
  }

  agent(command: string, ...args: readonly string[]): Promise<AgentResult> {
    if (command === 'apply') this.#wasKilled = false;
    return this.site.agent(command, ...args);
  }

  /** Whether all files of an image are there: then it runs. */
  canRun(image: string): boolean {
    const layers = this.store.layers();
    return this.store.chainsOf(image).every((chain) => this.#works(layers.get(chain)));
  }

  /** A run that was killed may not have let go of a disk that was pulled out before it. */
  #works(layer: StoredLayer | undefined): boolean {
    return layer?.isThere === true && !(this.#wasKilled && layer.isLost);
  }

  /** Whether all files under a container are there. Its image may have gone. */
  canStart({ id }: Container): boolean {
    const layers = this.store.layers();
    for (let chain = this.store.containerParent(id); chain !== undefined; chain = layers.get(chain)?.parent) {
      if (!this.#works(layers.get(chain))) return false;
    }
    return true;
  }
}
