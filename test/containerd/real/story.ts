import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { ContainerdFill, FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { fillFarm } from '../../../agent/containerd/namespace-offer.ts';
import { GuestStory, type StoryRules } from '../../store/guest-story.ts';
import type { StoryDisks } from '../../store/story-disks.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import type { DockerdVersion } from '../../support/dockerd-version.ts';
import { ContainerdSite } from './site.ts';

/** One guest over many boots, whose Docker has its images in containerd. */
export class ContainerdStory extends GuestStory {
  readonly site: ContainerdSite;
  #rules = byDefault;

  private constructor(site: ContainerdSite, disks: StoryDisks) {
    super(disks);
    this.site = site;
  }

  static async begin(version: DockerdVersion, disks: StoryDisks): Promise<ContainerdStory> {
    const story = new ContainerdStory(await ContainerdSite.make(version), disks);
    await story.begin();
    return story;
  }

  get dockerd(): Dockerd {
    assert.ok(this.site.dockerd, 'dockerd runs');
    return this.site.dockerd;
  }

  get ledger(): string {
    const [found, ...others] = globSync(path.join(this.site.dataRoot, 'docker-preloader/containerd-*.json'));
    assert.ok(found !== undefined && others.length === 0, 'one ledger');
    return found;
  }

  protected get roots(): readonly string[] {
    return [this.site.containerd.root, this.site.dataRoot];
  }

  protected get layers(): string {
    return path.join(this.site.containerd.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs');
  }

  protected mount(disk: string, name: string, rank?: number): Promise<void> {
    return this.site.attachFile(disk, name, rank === undefined ? {} : { rank });
  }

  protected configure(rules: StoryRules): Promise<void> {
    this.#rules = { ...byDefault, ...rules };
    return Promise.resolve();
  }

  /** What the agent does, as it is configured. */
  fill(more: Partial<FillOptions> = {}): Promise<ContainerdFill> {
    return this.site.fill({ config: this.#rules, ...more });
  }

  /** Of the last boot nothing is in /run either; then our unit, containerd, ours, dockerd. */
  async boot(): Promise<ContainerdFill> {
    await this.end();
    await rm(this.site.farmRoot, { recursive: true, force: true });
    fillFarm(this.site.farmRoot, this.site.disks);
    await this.site.startContainerd();
    const fill = await this.fill();
    await this.site.startDockerd();
    return fill;
  }

  async stop(): Promise<void> {
    await this.site.dockerd?.stop();
    this.site.dockerd = undefined;
  }

  protected async end(): Promise<void> {
    await this.stop();
    await this.site.containerd.stop();
  }

  /** What is in containerd: where an image has names in several repositories, Docker shows the digest of one alone. */
  protected override async listed(): Promise<string> {
    return (await this.site.containerd.ctr(['-n', 'moby', 'images', 'ls', '-q'])).replaceAll('docker.io/library/', '');
  }
}

const byDefault: FillOptions['config'] = { conflicts: 'user', removedImages: 'restore' };
