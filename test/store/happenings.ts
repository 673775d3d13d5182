import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import path from 'node:path';
import type { GuestStory, StoryRules } from './guest-story.ts';
import { type Attached, everything, nothing } from './user-things.ts';

/** Something that happens to a guest while it is off, or before it goes off. */
export interface Happening<Guest extends GuestStory = GuestStory> {
  readonly is: string;
  readonly config?: StoryRules;
  /** Done to dockerd while it runs, on the disks as they were. */
  readonly user?: (story: Guest) => Promise<unknown>;
  /** Done to the guest while it is off. */
  readonly off?: (story: Guest) => Promise<unknown> | void;
  /** What of the first disk's layers is there afterwards. */
  readonly attached: Attached;
  /** References that are not the user's any more. */
  readonly except?: readonly string[];
  /** What else shows, whichever store Docker has its images in. */
  readonly after?: (story: Guest) => Promise<void>;
  /** What shows in this store. */
  readonly also?: (story: Guest, boot: Awaited<ReturnType<Guest['boot']>>) => Promise<void> | void;
}

/** Lets it happen to a guest, up to the boot that follows. */
export async function happen<Guest extends GuestStory>(
  story: Guest,
  { config, user, off }: Happening<Guest>,
): Promise<void> {
  await story.reset(config);
  if (user !== undefined) {
    await story.boot();
    await user(story);
    await story.stop();
  }
  await off?.(story);
}

export const withoutDisk = (story: GuestStory): Promise<void> => story.detach('main');

/** What happens to a guest whichever store its Docker has its images in. */
export const happenings = {
  nothing: { is: 'nothing', attached: everything, after: (story) => story.shows('web:1', '/web', 'web 1') },
  newer: {
    is: 'the disk is replaced by a newer build',
    off: (story) => story.replace(story.disks.newer),
    attached: nothing,
    after: async (story) => {
      await story.shows('web:1', '/web', 'web 2');
      await story.shows('app:latest', '/app', 'app 2');
      await story.shows('api:1', '/api', 'api 2');
      // web 1's layer went: nothing stood on it.
      assert.ok(!story.hasLayerWith('web', 'web 1'));
    },
  },
  whole: {
    is: 'the disk is replaced by one that has the old layers, too',
    off: (story) => story.replace(story.disks.whole),
    attached: new Set(['app', 'again']),
    after: (story) => story.shows('app:latest', '/app', 'app 2'),
  },
  detached: { is: 'the disk is detached', off: withoutDisk, attached: nothing },
  back: {
    is: 'the disk is detached, and attached again',
    off: async (story) => {
      await withoutDisk(story);
      await story.boot(3);
      await story.stop();
      await story.attach(story.disks.first, 'main');
    },
    attached: everything,
    after: async (story) => {
      const tags = await story.tags();
      for (const tag of ['app:1', 'app:latest', 'api:1', 'web:1']) assert.ok(tags.includes(tag), tag);
    },
  },
  renamed: {
    is: 'the label changes, the content is the same',
    off: async (story) => {
      await withoutDisk(story);
      await story.attach(story.disks.first, 'renamed');
    },
    attached: everything,
    after: (story) => story.shows('web:1', '/web', 'web 1'),
  },
  another: {
    is: 'another disk with the same tags comes, which has precedence',
    off: (story) => story.attach(story.disks.other, 'other'),
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app of another'),
  },
  conflict: {
    is: '`conflicts` is `disk`',
    config: { conflicts: 'disk' },
    attached: everything,
    except: ['tool:1'],
    after: (story) => story.shows('tool:1', '/tool', 'tool of the disk'),
  },
  conflictRemoved: {
    is: '`conflicts` is `disk`, the user removes what took his tag, and the disk is detached',
    config: { conflicts: 'disk' },
    off: async (story) => {
      await story.boot();
      await story.dockerd.cli(['rmi', 'tool:1']);
      await story.boot();
      await story.stop();
      await withoutDisk(story);
    },
    attached: nothing,
  },
  repeat: {
    is: 'a disk repeats layers that the user pulled',
    off: (story) => story.attach(story.disks.repeat, 'repeat'),
    attached: everything,
    after: async (story) => {
      await story.shows('repeat:1', '/pulled', 'pulled');
      await story.shows('repeat:2', '/repeat', 'repeat');
    },
  },
  repeatGone: {
    is: 'a disk repeats layers that the user pulled, and goes again with the first',
    off: async (story) => {
      await story.attach(story.disks.repeat, 'repeat');
      await story.boot();
      await story.stop();
      await story.detach('repeat');
      await withoutDisk(story);
    },
    attached: nothing,
  },
  restored: {
    is: 'the user removed a preloaded image, to be restored',
    user: (story) => story.dockerd.cli(['rmi', 'web:1', 'app:latest']),
    attached: everything,
    after: async (story) => {
      await story.shows('web:1', '/web', 'web 1');
      await story.shows('app:latest', '/app', 'app 1');
    },
  },
  respected: {
    is: 'the user removed a preloaded image, to be respected',
    config: { removedImages: 'respect' },
    user: (story) => story.dockerd.cli(['rmi', 'web:1']),
    attached: everything,
    after: async (story) => {
      assert.ok(!(await story.tags()).includes('web:1'));
      await story.boot();
      assert.ok(!(await story.tags()).includes('web:1'));
      await story.replace(story.disks.newer);
      await story.boot(3);
      await story.shows('web:1', '/web', 'web 2');
    },
  },
  ledgerLost: { is: 'the ledger is lost', off: (story) => rmSync(story.ledger), attached: everything },
  ledgerLostAndNewer: {
    is: 'the ledger is lost, and the disk replaced by a newer build',
    off: async (story) => {
      await story.replace(story.disks.newer);
      rmSync(story.ledger);
    },
    attached: nothing,
  },
  ledgerLostAndDetached: {
    is: 'the ledger is lost, and the disk detached',
    off: async (story) => {
      await withoutDisk(story);
      rmSync(story.ledger);
    },
    attached: nothing,
  },
  ledgerTruncated: {
    is: 'the ledger is truncated, and the disk detached',
    off: async (story) => {
      await withoutDisk(story);
      truncateSync(story.ledger, Math.floor(readFileSync(story.ledger).length / 2));
    },
    attached: nothing,
  },
  folderForLedger: {
    is: "a folder is in the ledger's place",
    off: ({ ledger }) => {
      rmSync(ledger);
      mkdirSync(path.join(ledger, 'folder'), { recursive: true });
    },
    attached: everything,
    after: async (story) => {
      // The next boot finds a ledger again.
      assert.ok(!(await story.boot()).findings.some(({ code }) => code === 'LEDGER_INVALID'));
    },
  },
} as const satisfies Readonly<Record<string, Happening>>;
