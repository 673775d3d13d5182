import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { ContainerdFill } from '../../../agent/containerd/fill-containerd.ts';
import { happen, type Happening, happenings, withoutDisk } from '../../store/happenings.ts';
import { storyDisks } from '../../store/story-disks.ts';
import { everything } from '../../store/user-things.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { buildImage } from '../../support/images.ts';
import { torture } from '../../support/size.ts';
import { codesOf, linksBelow, stepsOf } from './site.ts';
import { ContainerdStory } from './story.ts';

/** Something that happens to a guest whose Docker has its images in containerd. */
interface Event extends Happening<ContainerdStory> {
  /** What the run tells. */
  readonly tells?: readonly string[];
  /** In `npm test`, too. */
  readonly always?: boolean;
}

/** The user's tag `tool:1` is one that the disk has, too. */
const conflict = ['TAG_CONFLICT'];
const namesWhatIsKept = ({ findings }: ContainerdFill, ...names: readonly string[]): void => {
  const message = findings.flatMap((finding) => (finding.code === 'KEPT' ? [finding.message] : [])).join('\n');
  for (const name of ['disk dpl-main', ...names]) assert.ok(message.includes(name), `expected ${name} in: ${message}`);
};
/**
 * References of the disk that the user has not touched are gone, but for those of the image that his container is made
 * of, and no `<none>` is listed.
 */
const hasOnlyTheUsers = async (story: ContainerdStory): Promise<void> => {
  assert.deepEqual(
    (await story.tags()).filter((tag) => !tag.endsWith('<none>')),
    [...story.usersTags, 'app:1', 'app:latest'].toSorted(),
  );
  assert.equal(await story.dockerd.cli(['images', '--quiet', '--filter', 'dangling=true']), '');
};

const events: readonly Event[] = [
  { ...happenings.nothing, tells: conflict },
  {
    ...happenings.newer,
    always: true,
    tells: [...conflict, 'KEPT'],
    also: (_, boot) => namesWhatIsKept(boot, 'container ', 'on-app:1', 'own-name:1'),
  },
  { ...happenings.whole, tells: [...conflict, 'KEPT'] },
  {
    ...happenings.detached,
    tells: ['KEPT'],
    also: async (story, boot) => {
      // His own `solo:1` has no layer of the disk under it: the one that it had went with its last name.
      namesWhatIsKept(boot, 'container ', 'on-app:1', 'own-name:1', 'gone:1');
      await hasOnlyTheUsers(story);
    },
  },
  { ...happenings.back, always: true, tells: conflict },
  { ...happenings.renamed, tells: conflict },
  { ...happenings.another, tells: [...conflict, ...conflict, ...conflict] },
  {
    is: 'another disk with the same tags comes, which has none',
    off: (story) => story.attach(story.disks.other, 'other', -1),
    tells: [...conflict, ...conflict, ...conflict],
    attached: everything,
    after: (story) => story.shows('app:latest', '/app', 'app 1'),
  },
  {
    ...happenings.conflict,
    tells: conflict,
    also: async (story) => {
      // His own is there still, and gets its name back.
      await story.stop();
      await withoutDisk(story);
      await story.boot();
      await story.shows('tool:1', '/tool', "the user's tool");
    },
  },
  { ...happenings.conflictRemoved, tells: ['KEPT'] },
  { ...happenings.repeat, tells: conflict },
  { ...happenings.repeatGone, tells: ['KEPT'], also: hasOnlyTheUsers },
  {
    is: 'the user removed what a disk repeats of his, and the disk goes',
    user: async (story) => {
      await story.attach(story.disks.repeat, 'repeat');
      await story.fill();
      const his = [...story.things.images.keys()].filter((name) => name.includes('/pulled:'));
      // The name with the digest goes with the last tag.
      await story.dockerd.cli(['rmi', ...his]);
      await story.shows('repeat:2', '/repeat', 'repeat');
    },
    off: (story) => story.detach('repeat'),
    tells: conflict,
    attached: everything,
    except: ['/pulled'],
    after: async (story) => assert.ok(!(await story.tags()).includes('repeat:1')),
  },
  { ...happenings.restored, tells: conflict },
  {
    ...happenings.respected,
    tells: [...conflict, 'TAG_REMOVED'],
    also: (_, boot) =>
      assert.equal(boot.findings.find(({ code }) => code === 'TAG_REMOVED')?.image, 'docker.io/library/web:1'),
  },
  { ...happenings.ledgerLost, tells: conflict },
  { ...happenings.ledgerLostAndNewer, tells: [...conflict, 'KEPT'] },
  { ...happenings.ledgerLostAndDetached, tells: ['KEPT'], also: hasOnlyTheUsers },
  { ...happenings.ledgerTruncated, tells: ['LEDGER_INVALID', 'KEPT'] },
  {
    ...happenings.folderForLedger,
    tells: ['LEDGER_INVALID', ...conflict],
    also: async (story) => assert.deepEqual(codesOf(await story.boot()), conflict),
  },
];

/** Each event on each dockerd that has its images in containerd; on the newest some, where not DPL_TORTURE=1. */
for (const version of torture ? (['26.1', '28.5'] as const) : (['28.5'] as const))
  describe(`dockerd ${version} with its images in containerd: all that the user has made is there, and works where its layers are attached`, () => {
    let story: ContainerdStory;
    before(async () => {
      story = await ContainerdStory.begin(version, await storyDisks('--blobs', 'tar'));
    });
    after(cleanUpAll);

    for (const event of events.filter(({ always }) => torture || always === true))
      it(`after this: ${event.is}`, async () => {
        await happen(story, event);
        const boot = await story.boot();
        const except = event.except ?? [];
        const references = [...story.things.images.keys()].filter((name) => except.some((part) => name.includes(part)));
        await story.checkThings(event.attached, references);
        assert.deepEqual(codesOf(boot).toSorted(), (event.tells ?? []).toSorted());
        await event.after?.(story);
        await event.also?.(story, boot);
        assert.deepEqual(stepsOf(await story.fill()), []);
      });
  });

/** Names that the disk has, too, but that were the user's when he pruned them: to the disk they are free again. */
const wereHis = ['gone:1', 'solo:1', 'tool:1'];
const ofTheDisk = ['api:1', 'app:1', 'app:latest', 'gone:1', 'solo:1', 'tool:1', 'web:1'];

for (const version of torture ? (['26.1', '28.5'] as const) : [])
  describe(`dockerd ${version} with its images in containerd: what the user removes, and what he leaves`, () => {
    let story: ContainerdStory;
    before(async () => {
      story = await ContainerdStory.begin(version, await storyDisks('--blobs', 'tar'));
    });
    after(cleanUpAll);
    const docker = (...args: readonly string[]): Promise<string> => story.dockerd.cli(args);
    const settled = async (): Promise<void> => assert.deepEqual(stepsOf(await story.fill()), []);

    for (const removedImages of ['restore', 'respect'] as const)
      it(`\`docker system prune -af\`, with removedImages: ${removedImages}`, async () => {
        await story.reset({ removedImages });
        await story.boot();
        const say = 'echo own > /volume/own; sleep 1000';
        const run = ['run', '--detach', '--name', 'runner', '--network', 'none', '--stop-timeout', '1'];
        await docker(...run, '--volume', 'kept:/volume', 'built:1', 'sh', '-c', say);
        await docker('system', 'prune', '--all', '--force');
        await story.boot();
        // What ran is there with its image and its volume; what he pruned of his own does not come back.
        await docker('start', 'runner');
        assert.equal(await docker('exec', 'runner', 'cat', '/built', '/volume/own'), 'built\nown');
        assert.deepEqual(
          await story.tags(),
          ['built:1', ...(removedImages === 'restore' ? ofTheDisk : wereHis)].toSorted(),
        );
        if (removedImages === 'restore') await story.shows('web:1', '/web', 'web 1');
        await settled();
      });

    it('what a prune has taken, and the daemon answers, is there again also where removals are respected', async () => {
      await story.reset({ removedImages: 'respect' });
      await story.boot();
      await docker('rmi', 'web:1');
      await docker('image', 'prune', '--all', '--force');
      const pruned = new Set(['docker.io/library/api:1', 'docker.io/library/app:latest']);
      const { findings } = await story.fill({ pruned });
      assert.deepEqual(
        findings.flatMap(({ code, image }) => (code === 'TAG_REMOVED' ? [image] : [])),
        ['docker.io/library/web:1'],
      );
      const now = await story.tags();
      assert.deepEqual(
        ['api:1', 'app:latest', 'web:1'].map((tag) => now.includes(tag)),
        [true, true, false],
      );
      await settled();
    });

    it('a containerd whose root was wiped is filled as a new one', async () => {
      await story.reset();
      for (const root of [story.site.containerd.root, story.site.dataRoot])
        await execa('find', [root, '-mindepth', '1', '-delete']);
      assert.deepEqual(codesOf(await story.boot()), []);
      assert.deepEqual(await story.tags(), ofTheDisk);
      await story.shows('web:1', '/web', 'web 1');
    });

    it('a containerd whose root was wiped below a dockerd that was not, too', async () => {
      await story.reset();
      await execa('find', [story.site.containerd.root, '-mindepth', '1', '-delete']);
      assert.deepEqual(codesOf(await story.boot()), []);
      assert.deepEqual(await story.tags(), ofTheDisk);
      await settled();
    });

    it('unlink takes out all that is ours, and leaves nothing once nothing stands there', async () => {
      await story.reset();
      await story.attach(story.disks.repeat, 'repeat');
      await story.boot();
      await story.fill({ mode: 'unlink', disks: [] });
      assert.ok(!story.hasLayerWith('web', 'web 1'));
      await story.checkThings(everything);
      // dockerd and containerd without the agent, as when the package has gone.
      await story.stop();
      await story.site.containerd.stop();
      await story.site.startContainerd();
      await story.site.startDockerd();
      await story.checkThings(everything);

      await story.removeAll();
      assert.deepEqual(codesOf(await story.fill({ mode: 'unlink', disks: [] })), []);
      assert.deepEqual(await linksBelow(story.site.folder), []);
      assert.equal((await story.site.containerd.ctr(['-n', 'moby', 'snapshots', 'ls'])).split('\n').length, 1);
      assert.deepEqual(readdirSync(path.join(story.site.dataRoot, 'docker-preloader')), ['containerd-lock']);
    });

    it('builds by BuildKit after an upgrade, a detach and an attach', async () => {
      await story.reset();
      await story.boot();
      let number = 0;
      const build = async (image: string, file: string, content: string): Promise<void> => {
        number += 1;
        for (const dockerfile of [
          `FROM ${image}\nCOPY kit /kit\nRUN cat ${file} > /result`,
          `FROM mine:1\nCOPY --from=${image} ${file} /result\nCOPY kit /kit${number}`,
          `FROM ${image}\nCOPY kit /kit\nRUN cat ${file} > /result && echo ${number} > /number`,
        ]) {
          await buildImage(story.dockerd, 'kit:1', dockerfile, 'buildkit', { kit: 'kit\n' });
          await story.shows('kit:1', '/result', content);
          await docker('rmi', 'kit:1');
        }
      };
      await build('web:1', '/web', 'web 1');
      await build('app:1', '/app', 'app 1');
      await story.replace(story.disks.newer);
      await story.boot();
      await build('web:1', '/web', 'web 2');
      await build('app:latest', '/app', 'app 2');
      await build('mine:1', '/mine', 'mine');
      await story.stop();
      await story.detach('main');
      await story.boot();
      await build('mine:1', '/mine', 'mine');
      await story.attach(story.disks.first, 'main');
      const codes = codesOf(await story.boot());
      // Of the newer build, which no image and no container stands on any more.
      assert.ok(codes.includes('BUILD_CACHE'), codes.join());
      await build('web:1', '/web', 'web 1');
      await build('app:1', '/app', 'app 1');
      await docker('builder', 'prune', '--all', '--force');
      assert.ok(!codesOf(await story.boot()).includes('BUILD_CACHE'));
      await build('web:1', '/web', 'web 1');
      await story.checkThings(everything);
    });

    it('has an image that two disks have as long as one of them is there', async () => {
      await story.reset();
      await story.attach(story.disks.whole, 'whole', -1);
      await story.boot();
      await docker(
        'run',
        '--detach',
        '--name',
        'runner',
        '--network',
        'none',
        '--stop-timeout',
        '1',
        'app:1',
        'sleep',
        '1000',
      );
      await story.detach('main');
      await story.fill();
      assert.equal(await docker('exec', 'runner', 'cat', '/bin/../app'), 'app 1');
      await story.shows('app:1', '/app', 'app 1');
      await story.shows('app:latest', '/app', 'app 2');
      await docker('rm', '--force', 'runner');
      await settled();
    });

    it("leaves to the user an image that he had before a disk brought the same, and both its layers' bytes", async () => {
      await story.reset();
      await story.detach('main');
      await story.boot();
      await story.removeAll();
      await story.dockerd.cli(['load'], story.disks.archives.solo);
      const id = await docker('image', 'inspect', '--format', '{{.Id}}', 'solo:1');
      await story.attach(story.disks.first, 'main');
      assert.deepEqual(codesOf(await story.fill()), []);
      assert.equal(await docker('image', 'inspect', '--format', '{{.Id}}', 'solo:1'), id);
      assert.deepEqual(await story.tags(), ofTheDisk);
      await story.detach('main');
      assert.deepEqual(codesOf(await story.fill()), []);
      assert.deepEqual(await story.tags(), ['solo:1']);
      await story.shows('solo:1', '/solo', 'solo');
      assert.deepEqual(await linksBelow(story.site.folder), []);
    });
  });
