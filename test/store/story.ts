import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { Finding } from '../../agent/messages/finding.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { unmountBelow } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';
import type { StoryDisks } from './story-disks.ts';
import { makeUserThings, type UserThings } from './user-things.ts';

/** What the agent said at a boot. */
export interface Boot {
  readonly findings: readonly Finding[];
  /** What went to stderr, which is the journal's where there is one. */
  readonly said: string;
}

/**
 * One guest over many boots. It begins with the first disk in use and the user's things made; `reset` brings it back to
 * that, so that each story has the same beginning.
 */
export class Story {
  readonly site: Site;
  readonly disks: StoryDisks;
  things: UserThings = { images: new Map(), containers: new Map() };
  readonly #attached = new Set<string>();
  #dockerd: Dockerd | undefined;

  readonly #options: { readonly extraConfig: Readonly<Record<string, unknown>> };

  private constructor(site: Site, disks: StoryDisks, daemonConfig: Readonly<Record<string, unknown>>) {
    this.#options = { extraConfig: daemonConfig };
    this.site = site;
    this.disks = disks;
  }

  static async begin(
    version: DockerdVersion,
    disks: StoryDisks,
    daemonConfig: Readonly<Record<string, unknown>> = {},
  ): Promise<Story> {
    const story = new Story(await makeSite(version), disks, daemonConfig);
    await story.attach(disks.first, 'main');
    await story.boot();
    story.things = await makeUserThings(story.dockerd, disks, story.site.folder);
    await story.stop();
    await execa('cp', ['-a', story.site.dataRoot, story.#saved]);
    return story;
  }

  get #saved(): string {
    return path.join(this.site.folder, 'saved');
  }

  get dockerd(): Dockerd {
    assert.ok(this.#dockerd, 'dockerd runs');
    return this.#dockerd;
  }

  /** As after the user's last shutdown, with the first disk attached as `main`. */
  async reset(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.#dockerd?.kill();
    this.#dockerd = undefined;
    for (const name of this.#attached) await this.detach(name);
    await this.#unmount();
    await rm(this.site.dataRoot, { recursive: true, force: true });
    await execa('cp', ['-a', this.#saved, this.site.dataRoot]);
    await this.site.configure(config);
    await this.attach(this.disks.first, 'main');
  }

  async attach(disk: string, name: string): Promise<void> {
    await this.site.attach(disk, name);
    this.#attached.add(name);
  }

  async detach(name: string): Promise<void> {
    await this.site.detach(name);
    this.#attached.delete(name);
  }

  /** Another disk under the label of the first. */
  async replace(disk: string): Promise<void> {
    await this.stop();
    await this.detach('main');
    await this.attach(disk, 'main');
  }

  /** The guest starts: nothing of the last boot is mounted, the agent runs, then dockerd. @param expected the agent's exit status */
  async boot(...expected: readonly number[]): Promise<Boot> {
    await this.stop();
    await this.#unmount();
    const boot = await this.#apply(expected);
    this.#dockerd = await this.site.start(this.#options);
    return boot;
  }

  /** dockerd alone goes and comes back, with the agent between, as by `systemctl restart docker`. @returns what the agent said */
  async restart(...expected: readonly number[]): Promise<Boot> {
    await this.dockerd.leave();
    const boot = await this.#apply(expected);
    this.#dockerd = await this.site.start(this.#options);
    return boot;
  }

  async #apply(expected: readonly number[]): Promise<Boot> {
    const { exitCode, stderr, all } = await this.site.agent('apply');
    assert.ok(
      (expected.length === 0 ? [0] : expected).includes(exitCode ?? -1),
      `apply: expected exit status ${expected.join(' or ')}, got ${String(exitCode)}:\n${all}`,
    );
    return { findings: this.findings(), said: stderr };
  }

  /** dockerd without the agent before it. */
  async startAlone(): Promise<void> {
    this.#dockerd = await this.site.start(this.#options);
  }

  async stop(): Promise<void> {
    await this.#dockerd?.stop();
    this.#dockerd = undefined;
  }

  /** What the newest status.json lists. */
  findings(): readonly Finding[] {
    return (
      JSON.parse(readFileSync(path.join(this.site.folder, 'status/status.json'), 'utf8')) as {
        findings: readonly Finding[];
      }
    ).findings;
  }

  /** Whether a layer of the store holds such a file. */
  hasLayerWith(file: string, content: string): boolean {
    return this.site.layerFolders().some((folder) => {
      const found = path.join(this.site.dataRoot, 'overlay2', folder, 'diff', file);
      return existsSync(found) && readFileSync(found, 'utf8').trim() === content;
    });
  }

  async #unmount(): Promise<void> {
    await unmountBelow(this.site.dataRoot);
    await unmountBelow(this.site.mountRoot);
    await rm(path.join(this.site.folder, 'status'), { recursive: true, force: true });
  }
}

/** The finding that tells what stays without its disk. */
export function kept({ findings }: Boot): Finding {
  const finding = findings.find(({ code }) => code === 'KEPT');
  assert.ok(finding, `expected a finding KEPT, found ${findings.map(({ code }) => code).join(', ')}`);
  return finding;
}
