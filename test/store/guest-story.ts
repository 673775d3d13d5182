import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { execa } from 'execa';
import type { Config } from '../../agent/config/config.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { unmountBelow } from '../support/temp-tree.ts';
import type { StoryDisks } from './story-disks.ts';
import {
  type Attached,
  checkUserThings,
  fileIn,
  listedByDocker,
  makeUserThings,
  type UserThings,
} from './user-things.ts';

/** How the agent is told to merge; what is not said is as by default. */
export type StoryRules = Partial<Pick<Config, 'conflicts' | 'removedImages'>>;

/**
 * One guest over many boots, whichever store its Docker has its images in. It begins with the first disk in use and the
 * user's things made; `reset` brings it back to that, so that each story has the same beginning.
 */
export abstract class GuestStory {
  readonly disks: StoryDisks;
  things: UserThings = { images: new Map(), containers: new Map() };
  abstract readonly site: { readonly folder: string; readonly detach: (name: string) => Promise<void> };
  readonly #attached = new Set<string>();

  protected constructor(disks: StoryDisks) {
    this.disks = disks;
  }

  abstract get dockerd(): Dockerd;
  abstract get ledger(): string;
  /** Folders that a machine keeps when it is off. */
  protected abstract get roots(): readonly string[];
  /** A glob for the folders that have the files of a layer each. */
  protected abstract get layers(): string;

  /**
   * The guest starts: nothing of the last boot is mounted, the agent runs, then dockerd.
   * @param expected what the agent may end with, where it runs as a program; 0 by default
   */
  abstract boot(...expected: readonly number[]): Promise<{ readonly findings: readonly { readonly code: string }[] }>;
  /** dockerd ends, in order. */
  abstract stop(): Promise<void>;
  /** All that runs ends. */
  protected abstract end(): Promise<void>;
  protected abstract configure(rules: StoryRules): Promise<void>;
  /** @param rank above the others by default; of dockerd's own store the order of `labels` decides */
  protected abstract mount(disk: string, name: string, rank?: number): Promise<void>;

  /** Makes what each story begins with. */
  protected async begin(): Promise<void> {
    await this.attach(this.disks.first, 'main');
    await this.boot();
    // Or that it is not there later tells nothing.
    assert.ok(this.hasLayerWith('web', 'web 1'));
    this.things = await makeUserThings(this.dockerd, this.disks, this.site.folder);
    await this.stop();
    await this.end();
    for (const root of this.roots) await execa('cp', ['-a', root, `${root}-saved`]);
  }

  /** As after the user's last shutdown, with the first disk attached as `main`. */
  async reset(rules: StoryRules = {}): Promise<void> {
    await this.end();
    for (const name of this.#attached) await this.detach(name);
    for (const root of this.roots) await unmountBelow(root);
    for (const root of this.roots) {
      await rm(root, { recursive: true, force: true });
      await execa('cp', ['-a', `${root}-saved`, root]);
    }
    await this.configure(rules);
    await this.attach(this.disks.first, 'main');
  }

  async attach(disk: string, name: string, rank?: number): Promise<void> {
    await this.mount(disk, name, rank);
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

  /** Whether a layer of the store has such a file. */
  hasLayerWith(file: string, content: string): boolean {
    return globSync(`${this.layers}/${file}`).some((found) => readFileSync(found, 'utf8').trim() === content);
  }

  /** Holds a file of an image to a line. */
  async shows(reference: string, file: string, content: string): Promise<void> {
    assert.equal(await fileIn(this.dockerd, reference, file), content, reference);
  }

  /** All that Docker lists as NAME:TAG, sorted. */
  async tags(): Promise<readonly string[]> {
    return (await this.dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n').toSorted();
  }

  /** Names with tags that the user has given. */
  get usersTags(): readonly string[] {
    return [...this.things.images.keys()].filter((name) => !name.includes('@'));
  }

  /**
   * All of the user's things are there, and those work whose layers are attached.
   * @param except references that are no longer his
   */
  checkThings(attached: Attached, except: readonly string[] = []): Promise<void> {
    return checkUserThings(this.dockerd, this.things, attached, except, () => this.listed());
  }

  /** The names of all images, with white space between them. */
  protected listed(): Promise<string> {
    return listedByDocker(this.dockerd);
  }

  /** Everything that is the user's goes, by his own hand. */
  async removeAll(): Promise<void> {
    await this.dockerd.cli(['rm', '--force', ...(await this.dockerd.cli(['ps', '--all', '--quiet'])).split('\n')]);
    await this.dockerd.cli(['image', 'prune', '--all', '--force']);
  }
}
