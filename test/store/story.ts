import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { StatusDocument } from '../../agent/status/schema.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { unmountBelow } from '../support/temp-tree.ts';
import { GuestStory, type StoryRules } from './guest-story.ts';
import { makeSite, type Site } from './site.ts';
import type { StoryDisks } from './story-disks.ts';

type Finding = StatusDocument['findings'][number];

/** What the agent said at a boot. */
export interface Boot {
  readonly findings: readonly Finding[];
  /** What went to stderr, which is the journal's where there is one. */
  readonly said: string;
}

/** One guest over many boots, whose Docker has its images in its own store. */
export class Story extends GuestStory {
  readonly site: Site;
  #dockerd: Dockerd | undefined;
  readonly #options: { readonly extraConfig: Readonly<Record<string, unknown>> };

  private constructor(site: Site, disks: StoryDisks, daemonConfig: Readonly<Record<string, unknown>>) {
    super(disks);
    this.#options = { extraConfig: daemonConfig };
    this.site = site;
  }

  static async begin(
    version: DockerdVersion,
    disks: StoryDisks,
    daemonConfig: Readonly<Record<string, unknown>> = {},
  ): Promise<Story> {
    const story = new Story(await makeSite(version), disks, daemonConfig);
    await story.begin();
    return story;
  }

  get dockerd(): Dockerd {
    assert.ok(this.#dockerd, 'dockerd runs');
    return this.#dockerd;
  }

  get ledger(): string {
    return path.join(this.site.dataRoot, 'docker-preloader/ledger.json');
  }

  protected get roots(): readonly string[] {
    return [this.site.dataRoot];
  }

  protected get layers(): string {
    return path.join(this.site.dataRoot, 'overlay2/*/diff');
  }

  protected async mount(disk: string, name: string): Promise<void> {
    await this.site.attach(disk, name);
  }

  protected configure(rules: StoryRules): Promise<void> {
    return this.site.configure(rules);
  }

  async boot(...expected: readonly number[]): Promise<Boot> {
    await this.stop();
    await this.#unmount();
    const boot = await this.#apply(expected);
    this.#dockerd = await this.site.start(this.#options);
    return boot;
  }

  /**
   * dockerd alone goes and comes back, with the agent between, as by `systemctl restart docker`.
   * @returns what the agent said
   */
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
    return { findings: this.site.status().findings, said: stderr };
  }

  /** dockerd without the agent before it. */
  async startAlone(): Promise<void> {
    this.#dockerd = await this.site.start(this.#options);
  }

  async stop(): Promise<void> {
    await this.#dockerd?.stop();
    this.#dockerd = undefined;
  }

  protected async end(): Promise<void> {
    await this.#dockerd?.kill();
    this.#dockerd = undefined;
    await this.#unmount();
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
