import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Happening, happenings, withoutDisk } from './happenings.ts';
import { kept, type Boot, type Story } from './story.ts';
import { everything } from './user-things.ts';

/** Something that happens to a guest whose Docker has its images in its own store. */
interface Event extends Happening<Story> {
  /** Exit status of the agent; 0 where absent. */
  readonly exit?: number;
  /** On each dockerd; on the newest alone, where absent. */
  readonly everywhere?: boolean;
}

/** What the user made stand on the first disk is named, with its label, in the status and in the journal's line. */
const namesWhatIsKept =
  (...names: readonly string[]) =>
  (story: Story, boot: Boot): void => {
    const { message } = kept(boot);
    for (const name of [story.site.labelOf('main'), ...names])
      assert.ok(message.includes(name), `expected ${name} in: ${message}`);
    assert.match(message, /attach a disk that has (it|them), or remove and pull it$/);
    assert.ok(boot.said.includes(message), boot.said);
  };
/** References of the disk that the user has not touched are gone, and no `<none>` is listed. */
const hasOnlyTheUsers = async (story: Story): Promise<void> => {
  assert.deepEqual(
    (await story.tags()).filter((tag) => tag !== '<none>:<none>'),
    story.usersTags.toSorted(),
  );
  assert.equal(await story.dockerd.cli(['images', '--quiet', '--filter', 'dangling=true']), '');
};

export const events: readonly Event[] = [
  happenings.nothing,
  {
    ...happenings.newer,
    everywhere: true,
    exit: 3,
    also: async (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'own-name:1')(story, boot);
      assert.ok(!(await story.tags()).includes('app:1'), 'a tag that the disk has no more goes');
    },
  },
  { ...happenings.whole, exit: 3 },
  {
    ...happenings.detached,
    everywhere: true,
    exit: 3,
    also: async (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'own-name:1', 'gone:1', 'solo:1')(story, boot);
      await hasOnlyTheUsers(story);
    },
  },
  { ...happenings.back, everywhere: true },
  happenings.renamed,

  // Two disks with one tag.
  { ...happenings.another, is: 'another disk with the same tags comes, later in `labels`' },
  {
    is: 'another disk with the same tags comes, earlier in `labels`',
    off: async (story) => {
      await withoutDisk(story);
      await story.attach(story.disks.other, 'other');
      await story.attach(story.disks.first, 'main');
    },
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app 1'),
  },
  {
    is: 'another disk with the same tags comes, and the greater label decides',
    off: async (story) => {
      await story.attach(story.disks.other, 'other');
      await story.site.configure({ labels: [story.site.labelOf('*')] });
    },
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app of another'),
  },
  {
    is: 'another disk with the same tags comes, and the greater label decides, attached in the other order',
    off: async (story) => {
      await withoutDisk(story);
      await story.attach(story.disks.other, 'aaa');
      await story.attach(story.disks.first, 'main');
      await story.site.configure({ labels: [story.site.labelOf('*')] });
    },
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app 1'),
  },
  {
    is: 'another disk with the same tags comes, and its priority decides',
    off: async (story) => {
      await story.attach(story.disks.prior, 'aaa');
      await story.site.configure({ labels: [story.site.labelOf('*')] });
    },
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app of another'),
  },

  // Conflicts. That the user wins is what every other story shows: `tool:1` is his.
  {
    ...happenings.conflict,
    everywhere: true,
    also: (_, boot) => assert.equal(boot.findings.find(({ code }) => code === 'TAG_CONFLICT')?.image, 'tool:1'),
  },
  { ...happenings.conflictRemoved, exit: 3 },

  happenings.repeat,
  { ...happenings.repeatGone, everywhere: true, exit: 3, also: hasOnlyTheUsers },

  // The user removes what was preloaded.
  happenings.restored,
  {
    ...happenings.respected,
    also: (_, boot) => assert.equal(boot.findings.find(({ code }) => code === 'TAG_REMOVED')?.image, 'web:1'),
  },

  // The ledger.
  happenings.ledgerLost,
  { ...happenings.ledgerLostAndNewer, exit: 3 },
  {
    ...happenings.ledgerLostAndDetached,
    exit: 3,
    also: namesWhatIsKept('container on-disk', 'on-app:1', 'gone:1'),
  },
  {
    ...happenings.ledgerTruncated,
    everywhere: true,
    exit: 3,
    also: (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'gone:1')(story, boot);
      assert.ok(boot.findings.some(({ code }) => code === 'LEDGER_INVALID'));
    },
  },
  happenings.folderForLedger,
  {
    is: 'the ledger is of a newer version, and the disk replaced',
    off: async (story) => {
      await story.replace(story.disks.newer);
      writeFileSync(
        story.ledger,
        JSON.stringify({ ...(JSON.parse(readFileSync(story.ledger, 'utf8')) as object), formatVersion: '99.0' }),
      );
    },
    exit: 3,
    attached: new Set(),
    also: (_, boot) => assert.ok(boot.findings.some(({ code }) => code === 'LEDGER_NEWER')),
  },
];
