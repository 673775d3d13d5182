import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { ContainerdFill, FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { fillFarm } from '../../../agent/containerd/offer.ts';
import type { StoryDisks } from '../../store/story-disks.ts';
import { makeUserThings, type UserThings } from '../../store/user-things.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import type { DockerdVersion } from '../../support/dockerd-version.ts';
import { unmountBelow } from '../../support/temp-tree.ts';
import { ContainerdSite } from './site.ts';

type Rules = FillOptions['config'];

/**
 * One guest over many boots, whose Docker has its images in containerd. It begins with the first disk in use and the user's
 * things made; `reset` brings it back to that, so that each story has the same beginning.
 */
export class ContainerdStory {
  readonly site: ContainerdSite;
  readonly disks: StoryDisks;
  things: UserThings = { images: new Map(), containers: new Map() };
  rules: Rules = byDefault;
  readonly #attached = new Set<string>();

  private constructor(site: ContainerdSite, disks: StoryDisks) {
    this.site = site;
    this.disks = disks;
  }

  static async begin(version: DockerdVersion, disks: StoryDisks): Promise<ContainerdStory> {
    const story = new ContainerdStory(await ContainerdSite.make(version), disks);
    await story.attach(disks.first, 'main');
    await story.boot();
    story.things = await makeUserThings(story.dockerd, disks, story.site.folder);
    await story.stop();
    await story.site.containerd.stop();
    for (const root of story.#roots) await execa('cp', ['-a', root, `${root}-saved`]);
    return story;
  }

  /** What a machine keeps when it is off. */
  get #roots(): readonly string[] {
    return [this.site.containerd.root, this.site.dataRoot];
  }

  get dockerd(): Dockerd {
    assert.ok(this.site.dockerd, 'dockerd runs');
    return this.site.dockerd;
  }

  /** As after the user's last shutdown, with the first disk attached as `main`. */
  async reset(rules: Partial<Rules> = {}): Promise<void> {
    await this.stop();
    await this.site.containerd.stop();
    for (const name of this.#attached) await this.detach(name);
    for (const root of this.#roots) await unmountBelow(root);
    for (const root of this.#roots) {
      await rm(root, { recursive: true, force: true });
      await execa('cp', ['-a', `${root}-saved`, root]);
    }
    this.rules = { ...byDefault, ...rules };
    await this.attach(this.disks.first, 'main');
  }

  /** @param rank above the others by default */
  async attach(disk: string, name: string, rank?: number): Promise<void> {
    await this.site.attachFile(disk, name, rank === undefined ? {} : { rank });
    this.#attached.add(name);
  }

  async detach(name: string): Promise<void> {
    await this.site.detach(name);
    this.#attached.delete(name);
  }

  /** Another disk in the place of the first. */
  async replace(disk: string): Promise<void> {
    await this.stop();
    await this.detach('main');
    await this.attach(disk, 'main');
  }

  /** The guest starts: of the last boot nothing is mounted and nothing is in /run; then our unit, containerd, ours, dockerd. */
  async boot(): Promise<ContainerdFill> {
    await this.stop();
    await this.site.containerd.stop();
    await rm(this.site.farmRoot, { recursive: true, force: true });
    fillFarm(this.site.farmRoot, this.site.disks);
    await this.site.startContainerd();
    const fill = await this.site.fill({ config: this.rules });
    await this.site.startDockerd();
    return fill;
  }

  async stop(): Promise<void> {
    await this.site.dockerd?.stop();
    this.site.dockerd = undefined;
  }

  /** Whether a layer of the store has such a file. */
  hasLayerWith(file: string, content: string): boolean {
    return globSync(`${this.site.containerd.root}/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/${file}`).some(
      (found) => readFileSync(found, 'utf8').trim() === content,
    );
  }

  get ledger(): string {
    const [found, ...others] = globSync(path.join(this.site.dataRoot, 'docker-preloader/containerd-*.json'));
    assert.ok(found !== undefined && others.length === 0, 'one ledger');
    return found;
  }
}

const byDefault: Rules = { conflicts: 'user', removedImages: 'restore' };
