import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { askAgent } from '../support/ask-agent.ts';
import { asDiffID, chainIDs } from '../../agent/docker/ids.ts';
import { ownLayerNames } from '../../agent/docker/layer-folders.ts';
import { torture } from '../support/size.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { buildImage } from '../support/images.ts';
import { mountsBelow } from '../support/temp-tree.ts';
import { startDaemon } from './site-daemon.ts';
import { Story } from './story.ts';
import { storyDisks } from './story-disks.ts';
import { everything, fileIn } from './user-things.ts';

/** Names that the disk has, too, but that were the user's when he pruned them: to the disk they are free again. */
const wereHis = ['gone:1', 'solo:1', 'tool:1'];
const ofTheDisk = ['api:1', 'app:1', 'app:latest', 'gone:1', 'solo:1', 'tool:1', 'web:1'];

/** The folder below overlay2 that we make for an image's topmost layer. */
async function topFolder(story: Story, reference: string): Promise<string> {
  const diffIDs = JSON.parse(
    await story.dockerd.cli(['image', 'inspect', '--format', '{{json .RootFS.Layers}}', reference]),
  ) as string[];
  const top = chainIDs(diffIDs.flatMap((text) => asDiffID(text) ?? [])).at(-1);
  assert.ok(top);
  return path.join(story.site.dataRoot, 'overlay2', ownLayerNames(top).cacheId);
}

describe('dockerd 28.5: what the user removes, and what he leaves', () => {
  let story: Story;
  before(async () => {
    story = await Story.begin('28.5', await storyDisks());
  });
  after(cleanUpAll);

  for (const removedImages of ['restore', 'respect'] as const) {
    it(`\`docker system prune -af\`, with removedImages: ${removedImages}`, async () => {
      await story.reset({ removedImages });
      await story.boot();
      await story.dockerd.cli([
        'run',
        '--detach',
        '--name',
        'runner',
        '--network',
        'none',
        '--volume',
        'kept:/volume',
        'built:1',
        'sh',
        '-c',
        'echo own > /volume/own; sleep 1000',
      ]);
      await story.dockerd.cli(['system', 'prune', '--all', '--force']);
      await story.boot();
      // What ran is there with its image and its volume; what he pruned of his own does not come back.
      await story.dockerd.cli(['start', 'runner']);
      assert.equal(await story.dockerd.cli(['exec', 'runner', 'cat', '/built', '/volume/own']), 'built\nown');
      assert.deepEqual(
        await story.tags(),
        ['built:1', ...(removedImages === 'restore' ? ofTheDisk : wereHis)].toSorted(),
      );
      if (removedImages === 'restore') await story.shows('web:1', '/web', 'web 1');
    });
  }

  it('a data root that was wiped is filled as a new one', async () => {
    await story.reset();
    await execa('find', [story.site.dataRoot, '-mindepth', '1', '-delete']);
    const { findings } = await story.boot();
    assert.deepEqual(findings, []);
    assert.deepEqual(await story.tags(), ofTheDisk);
    await story.shows('web:1', '/web', 'web 1');
  });

  it("`status` and the daemon's log name what a disk is missing for, and `attach` is all that it takes", async () => {
    await story.reset();
    await story.detach('main');
    await rm(path.join(story.site.folder, 'status'), { recursive: true, force: true });
    const daemon = await startDaemon(story.site);
    await askAgent(path.join(story.site.folder, 'status/status.sock'), '/healthz');
    const { stdout, exitCode } = await story.site.agent('status');
    await daemon.stop();
    assert.equal(exitCode, 3);
    for (const text of [stdout, daemon.log()]) {
      assert.match(
        text,
        new RegExp(
          `disk ${story.site.labelOf('main')} no longer has \\d layers that container on-disk, image .* stand on; .*attach a disk that has them, or remove and pull it`,
        ),
      );
    }
  });

  it('`unlink` takes out all that is ours, names what it leaves, and leaves nothing once nothing stands there', async () => {
    await story.reset();
    await story.attach(story.disks.repeat, 'repeat');
    await story.boot();
    const web = await topFolder(story, 'web:1');
    assert.ok(existsSync(web));
    await story.stop();
    const left = await story.site.agent('unlink');
    assert.equal(left.exitCode, 3, left.all);
    assert.match(
      left.stderr,
      new RegExp(
        `\\d layers of disk ${story.site.labelOf('main')} stay in the store, since container on-disk, image .*on-app:1, image gone:1, image own-name:1, image solo:1 stand on them; `,
      ),
    );
    assert.ok(!existsSync(web));
    assert.deepEqual(
      readdirSync(story.site.mountRoot),
      [story.site.labelOf('main')],
      "the disk under the user's things stays mounted",
    );
    // dockerd without the agent, as when the package has gone.
    await story.startAlone();
    await story.checkThings(everything);
    assert.deepEqual(
      (await story.tags()).filter((tag) => tag !== '<none>:<none>'),
      story.usersTags.toSorted(),
    );

    await story.removeAll();
    await story.stop();
    const rest = await story.site.agent('unlink');
    assert.equal(rest.exitCode, 0, rest.all);
    assert.deepEqual(story.site.layerFolders(), []);
    assert.deepEqual(readdirSync(path.join(story.site.dataRoot, 'docker-preloader')), ['lock']);
    assert.deepEqual(mountsBelow(story.site.mountRoot), []);
    await story.startAlone();
    assert.equal(await story.dockerd.cli(['images', '--all', '--quiet']), '');
  });

  it('a mount that a killed dockerd left under a layer is in the way of nothing', async () => {
    await story.reset();
    await story.boot();
    const web = await topFolder(story, 'web:1');
    await story.stop();
    mkdirSync(`${web}/merged`);
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', `${web}/merged`]);
    const { exitCode, all } = await story.site.agent('unlink');
    assert.equal(exitCode, 3, all);
    assert.deepEqual(mountsBelow(web), []);
    assert.ok(!existsSync(web));
  });
});

for (const version of torture ? dockerdVersions : (['28.5'] as const)) {
  describe(`dockerd ${version}: BuildKit`, () => {
    let story: Story;
    let number = 0;
    before(async () => {
      story = await Story.begin(version, await storyDisks());
    });
    after(cleanUpAll);

    /**
     * A step on an image that its cache may have, and a new one that copies from it; with DPL_TORTURE=1, new steps on
     * it, too.
     */
    const build = async (image: string, file: string, content: string): Promise<void> => {
      number += 1;
      const steps: readonly [string, string][] = [
        [`FROM ${image}\nCOPY kit /kit\nRUN cat ${file} > /result`, 'cached'],
        [`FROM mine:1\nCOPY --from=${image} ${file} /result\nCOPY kit /kit${number}`, 'copied'],
        [`FROM ${image}\nCOPY kit /kit\nRUN cat ${file} > /result && echo ${number} > /number`, 'new'],
        [`FROM ${image}\nLABEL number=${number}\nRUN cat ${file} > /result`, 'labelled'],
      ];
      for (const [dockerfile, is] of torture ? steps : steps.slice(0, 2)) {
        await buildImage(story.dockerd, 'kit:1', dockerfile, 'buildkit', { kit: 'kit\n' });
        assert.equal(await fileIn(story.dockerd, 'kit:1', '/result'), content, `${is}: ${dockerfile}`);
        await story.dockerd.cli(['rmi', 'kit:1']);
      }
    };

    it('builds after an upgrade, a detach and an attach, and the status names what lets go of its cache', async () => {
      await story.reset();
      await story.boot();
      await build('web:1', '/web', 'web 1');
      await build('app:1', '/app', 'app 1');

      await story.replace(story.disks.newer);
      await story.boot(3);
      await build('web:1', '/web', 'web 2');
      await build('app:latest', '/app', 'app 2');
      await build('mine:1', '/mine', 'mine');

      await story.stop();
      await story.detach('main');
      await story.boot(3);
      await build('mine:1', '/mine', 'mine');

      await story.attach(story.disks.first, 'main');
      const { findings } = await story.boot();
      // Of the newer build, which no image and no container stands on any more.
      const cache = findings.find(({ code }) => code === 'BUILD_CACHE');
      assert.match(
        cache?.message ?? '',
        /no longer has \d layers? that Docker's build cache stands on; .* run: docker builder prune -a$/,
      );
      await build('web:1', '/web', 'web 1');
      await build('app:1', '/app', 'app 1');

      await story.dockerd.cli(['builder', 'prune', '--all', '--force']);
      assert.ok(!(await story.boot()).findings.some(({ code }) => code === 'BUILD_CACHE'));
      await build('web:1', '/web', 'web 1');
      await story.checkThings(everything);
    });
  });
}

describe('dockerd 28.5 with live-restore', () => {
  let story: Story;
  before(async () => {
    story = await Story.begin('28.5', await storyDisks(), { 'live-restore': true });
  });
  after(cleanUpAll);

  it('while containers run and dockerd does not, nothing is taken from under them', async () => {
    await story.reset();
    await story.boot();
    const web = await topFolder(story, 'web:1');
    const api = await topFolder(story, 'api:1');
    const before = { link: readlinkSync(`${web}/diff`), inode: lstatSync(web).ino };
    await story.dockerd.cli([
      'run',
      '--detach',
      '--name',
      'runner',
      '--network',
      'none',
      'web:1',
      'sh',
      '-c',
      'while cat /web > /seen && cat /bin/busybox > /dev/null; do echo x >> /count; sleep 0.1; done',
    ]);
    const pid = await story.dockerd.cli(['inspect', '--format', '{{.State.Pid}}', 'runner']);
    const runs = async (): Promise<void> => {
      assert.equal(
        await story.dockerd.cli(['inspect', '--format', '{{.State.Pid}} {{.State.Running}}', 'runner']),
        `${pid} true`,
      );
      assert.equal(await story.dockerd.cli(['exec', 'runner', 'cat', '/web']), 'web 1');
    };
    const stays = (): void =>
      assert.deepEqual({ link: readlinkSync(`${web}/diff`), inode: lstatSync(web).ino }, before);

    // The same disks.
    const folders = story.site.layerFolders();
    await story.restart();
    assert.deepEqual(story.site.layerFolders(), folders);
    await runs();

    // The disk is not to be used any more; then a newer build is to be.
    for (const step of ['none', 'newer'] as const) {
      if (step === 'newer') await story.attach(story.disks.newer, 'newer');
      await story.site.configure({ labels: [story.site.labelOf('newer')], deviceTimeoutSec: 0 });
      const { findings } = await story.restart(3);
      assert.ok(existsSync(`/proc/${pid}`), 'the container runs');
      assert.match(findings.find(({ code }) => code === 'KEPT')?.message ?? '', /container runner/);
      stays();
      await runs();
      assert.equal(existsSync(api), true, 'own-name:1 stands on it');
    }
    await story.shows('web:1', '/web', 'web 2');
    await story.site.configure({});
    await story.restart();
    stays();
    await runs();
    const count = readFileSync(`/proc/${pid}/root/count`, 'utf8').length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(readFileSync(`/proc/${pid}/root/count`, 'utf8').length > count, 'it has read its files all the time');
    await story.dockerd.cli(['rm', '--force', 'runner']);
    await story.checkThings(everything);
  });
});
