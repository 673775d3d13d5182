import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { kept, type Boot, type Story } from './story.ts';
import { type Attached, everything, fileIn, nothing } from './user-things.ts';

/** Something that happens to a guest while it is off, or before it goes off. */
export interface Event {
  readonly is: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Done to dockerd while it runs, on the disks as they were. */
  readonly user?: (story: Story) => Promise<void>;
  /** Done to the guest while it is off. */
  readonly off?: (story: Story) => Promise<void> | void;
  /** Exit status of the agent; 0 where absent. */
  readonly exit?: number;
  /** What of the first disk's layers is there afterwards. */
  readonly attached: Attached;
  /** References that are not the user's any more. */
  readonly except?: readonly string[];
  /** What else shows. */
  readonly after?: (story: Story, boot: Boot) => Promise<void> | void;
  /** On each dockerd; on the newest alone, where absent. */
  readonly everywhere?: boolean;
}

const ledgerOf = (story: Story): string => path.join(story.site.dataRoot, 'docker-preloader/ledger.json');
const shows = async (story: Story, reference: string, file: string, content: string): Promise<void> =>
  assert.equal(await fileIn(story.dockerd, reference, file), content, reference);
const tags = async (story: Story): Promise<readonly string[]> =>
  (await story.dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n');
const withoutDisk = async (story: Story): Promise<void> => story.detach('main');
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
  const users = [...story.things.images.keys()].filter((name) => !name.includes('@'));
  assert.deepEqual((await tags(story)).filter((tag) => tag !== '<none>:<none>').toSorted(), users.toSorted());
  assert.equal(await story.dockerd.cli(['images', '--quiet', '--filter', 'dangling=true']), '');
};

export const events: readonly Event[] = [
  { is: 'nothing', attached: everything, after: (story) => shows(story, 'web:1', '/web', 'web 1') },
  {
    is: 'the disk is replaced by a newer build',
    everywhere: true,
    off: (story) => story.replace(story.disks.newer),
    exit: 3,
    attached: nothing,
    after: async (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'own-name:1')(story, boot);
      await shows(story, 'web:1', '/web', 'web 2');
      await shows(story, 'app:latest', '/app', 'app 2');
      await shows(story, 'api:1', '/api', 'api 2');
      assert.ok(!(await tags(story)).includes('app:1'), 'a tag that the disk has no more goes');
      // web 1's layer went: nothing stood on it.
      assert.ok(!story.hasLayerWith('web', 'web 1'));
    },
  },
  {
    is: 'the disk is replaced by one that has the old layers, too',
    off: (story) => story.replace(story.disks.whole),
    attached: new Set(['app', 'again']),
    exit: 3,
    after: (story) => shows(story, 'app:latest', '/app', 'app 2'),
  },
  {
    is: 'the disk is detached',
    everywhere: true,
    off: withoutDisk,
    exit: 3,
    attached: nothing,
    after: async (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'own-name:1', 'gone:1', 'solo:1')(story, boot);
      await hasOnlyTheUsers(story);
    },
  },
  {
    is: 'the disk is detached, and attached again',
    everywhere: true,
    off: async (story) => {
      await withoutDisk(story);
      await story.boot(3);
      await story.stop();
      await story.attach(story.disks.first, 'main');
    },
    attached: everything,
    after: async (story) => {
      for (const tag of ['app:1', 'app:latest', 'api:1', 'web:1']) assert.ok((await tags(story)).includes(tag), tag);
    },
  },
  {
    is: 'the label changes, the content is the same',
    off: async (story) => {
      await withoutDisk(story);
      await story.attach(story.disks.first, 'renamed');
    },
    attached: everything,
    after: (story) => shows(story, 'web:1', '/web', 'web 1'),
  },

  // Two disks with one tag.
  {
    is: 'another disk with the same tags comes, later in `labels`',
    off: (story) => story.attach(story.disks.other, 'other'),
    attached: everything,
    after: (story) => shows(story, 'app:latest', '/app', 'app of another'),
  },
  {
    is: 'another disk with the same tags comes, earlier in `labels`',
    off: async (story) => {
      await withoutDisk(story);
      await story.attach(story.disks.other, 'other');
      await story.attach(story.disks.first, 'main');
    },
    attached: everything,
    after: (story) => shows(story, 'app:latest', '/app', 'app 1'),
  },
  {
    is: 'another disk with the same tags comes, and the greater label decides',
    off: async (story) => {
      await story.attach(story.disks.other, 'other');
      await story.site.configure({ labels: [story.site.labelOf('*')] });
    },
    attached: everything,
    after: (story) => shows(story, 'app:latest', '/app', 'app of another'),
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
    after: (story) => shows(story, 'app:latest', '/app', 'app 1'),
  },
  {
    is: 'another disk with the same tags comes, and its priority decides',
    off: async (story) => {
      await story.attach(story.disks.prior, 'aaa');
      await story.site.configure({ labels: [story.site.labelOf('*')] });
    },
    attached: everything,
    after: (story) => shows(story, 'app:latest', '/app', 'app of another'),
  },

  // Conflicts. That the user wins is what every other story shows: `tool:1` is his.
  {
    is: '`conflicts` is `disk`',
    everywhere: true,
    config: { conflicts: 'disk' },
    attached: everything,
    except: ['tool:1'],
    after: async (story, boot) => {
      await shows(story, 'tool:1', '/tool', 'tool of the disk');
      assert.equal(boot.findings.find(({ code }) => code === 'TAG_CONFLICT')?.image, 'tool:1');
    },
  },
  {
    is: '`conflicts` is `disk`, the user removes what took his tag, and the disk is detached',
    config: { conflicts: 'disk' },
    off: async (story) => {
      await story.boot();
      await story.dockerd.cli(['rmi', 'tool:1']);
      await story.boot();
      await story.stop();
      await withoutDisk(story);
    },
    exit: 3,
    attached: nothing,
  },

  {
    is: 'a disk repeats layers that the user pulled',
    off: (story) => story.attach(story.disks.repeat, 'repeat'),
    attached: everything,
    after: async (story) => {
      await shows(story, 'repeat:1', '/pulled', 'pulled');
      await shows(story, 'repeat:2', '/repeat', 'repeat');
    },
  },
  {
    is: 'a disk repeats layers that the user pulled, and goes again with the first',
    everywhere: true,
    off: async (story) => {
      await story.attach(story.disks.repeat, 'repeat');
      await story.boot();
      await story.stop();
      await story.detach('repeat');
      await withoutDisk(story);
    },
    exit: 3,
    attached: nothing,
    after: hasOnlyTheUsers,
  },

  // The user removes what was preloaded.
  {
    is: 'the user removed a preloaded image, to be restored',
    user: (story) => story.dockerd.cli(['rmi', 'web:1', 'app:latest']).then(() => {}),
    attached: everything,
    after: async (story) => {
      await shows(story, 'web:1', '/web', 'web 1');
      await shows(story, 'app:latest', '/app', 'app 1');
    },
  },
  {
    is: 'the user removed a preloaded image, to be respected',
    config: { removedImages: 'respect' },
    user: (story) => story.dockerd.cli(['rmi', 'web:1']).then(() => {}),
    attached: everything,
    after: async (story, boot) => {
      assert.equal(boot.findings.find(({ code }) => code === 'TAG_REMOVED')?.image, 'web:1');
      assert.ok(!(await tags(story)).includes('web:1'));
      await story.boot();
      assert.ok(!(await tags(story)).includes('web:1'));
      await story.replace(story.disks.newer);
      await story.boot(3);
      await shows(story, 'web:1', '/web', 'web 2');
    },
  },

  // The ledger.
  { is: 'the ledger is lost', off: (story) => rmSync(ledgerOf(story)), attached: everything },
  {
    is: 'the ledger is lost, and the disk replaced by a newer build',
    off: async (story) => {
      await story.replace(story.disks.newer);
      rmSync(ledgerOf(story));
    },
    exit: 3,
    attached: nothing,
  },
  {
    is: 'the ledger is lost, and the disk detached',
    off: async (story) => {
      await withoutDisk(story);
      rmSync(ledgerOf(story));
    },
    exit: 3,
    attached: nothing,
    after: namesWhatIsKept('container on-disk', 'on-app:1', 'gone:1'),
  },
  {
    is: 'the ledger is truncated, and the disk detached',
    everywhere: true,
    off: async (story) => {
      await withoutDisk(story);
      truncateSync(ledgerOf(story), Math.floor(readFileSync(ledgerOf(story)).length / 2));
    },
    exit: 3,
    attached: nothing,
    after: (story, boot) => {
      namesWhatIsKept('container on-disk', 'on-app:1', 'gone:1')(story, boot);
      assert.ok(boot.findings.some(({ code }) => code === 'LEDGER_INVALID'));
    },
  },
  {
    is: "a folder is in the ledger's place",
    off: (story) => {
      rmSync(ledgerOf(story));
      mkdirSync(path.join(ledgerOf(story), 'folder'), { recursive: true });
    },
    attached: everything,
    after: async (story) => {
      // The next boot finds a ledger again.
      assert.ok(!(await story.boot()).findings.some(({ code }) => code === 'LEDGER_INVALID'));
    },
  },
  {
    is: 'the ledger is of a newer version, and the disk replaced',
    off: async (story) => {
      await story.replace(story.disks.newer);
      writeFileSync(
        ledgerOf(story),
        JSON.stringify({ ...(JSON.parse(readFileSync(ledgerOf(story), 'utf8')) as object), formatVersion: '99.0' }),
      );
    },
    exit: 3,
    attached: new Set(),
    after: (_, boot) => assert.ok(boot.findings.some(({ code }) => code === 'LEDGER_NEWER')),
  },
];
