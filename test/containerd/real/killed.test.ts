import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../../support/cleanup.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

interface Story {
  readonly is: string;
  /** What is there before; then what the run does that is killed. */
  readonly before: (site: ContainerdSite) => Promise<void>;
  readonly changes: (site: ContainerdSite) => Promise<void>;
  /** Names afterwards. */
  readonly images: string;
}

const stories: readonly Story[] = [
  {
    is: 'a first run',
    before: async () => undefined,
    changes: async (site) => {
      await site.attach('a');
      await site.attach('b');
    },
    images: 'app-a:1 app-b:1 mine:1 one:1',
  },
  {
    is: 'a newer disk, and another that is gone',
    before: async (site) => {
      await site.attach('a');
      await site.attach('b');
    },
    changes: async (site) => {
      await site.detach('a');
      await site.detach('b');
      await site.attach('b2');
    },
    images: 'app-b:1 mine:1',
  },
];

/** Every n-th call; all of them in torture. */
const STRIDE = torture ? 1 : 23;

for (const version of ['28.5', '26.1', '20.10'] as const)
  for (const { is, before, changes, images } of stories)
    describe(`the containerd of dockerd ${version}, ${is} killed at a call`, () => {
      after(cleanUpAll);

      it('has all of it after the next run, and nothing of the user is lost', async () => {
        const site = await ContainerdSite.make(version);
        const ctr = (...args: readonly string[]): Promise<string> => site.containerd.ctr(['-n', 'moby', ...args]);
        const { archive } = await madeDisk('user');
        let kills = 0;
        for (let at = 1 + (version.length % 3); ; at += STRIDE) {
          await ctr('images', 'import', archive);
          await ctr('images', 'rm', 'docker.io/library/app-a:1');
          await before(site);
          await site.fill();
          await changes(site);
          const wasKilled = await site.killedFill(at);
          kills += Number(wasKilled);
          const what = `killed at call ${at}`;
          if (kills % 3 === 1) {
            await site.containerd.kill();
            await site.startContainerd();
          }
          // A collection in between takes what no lease and no image keeps.
          if (kills % 3 === 2) await ctr('images', 'rm', '--sync', 'none:1').catch(() => undefined);

          const run = await site.fill();
          assert.deepEqual(codesOf(run), [], `${what}: ${JSON.stringify(run.findings)}`);
          assert.deepEqual(stepsOf(await site.fill()), [], what);
          const names = (await ctr('images', 'ls', '-q')).split('\n');
          assert.deepEqual(names.map((name) => name.replace('docker.io/library/', '')).join(' '), images, what);
          assert.match(await ctr('images', 'check'), /mine:1 .*complete/, what);
          assert.equal((await ctr('leases', 'ls', '-q')).trim(), '', what);
          const top = names.find((name) => name.includes('app-b')) ?? '';
          assert.equal(await ctr('run', '--rm', top, `run-${at}`, 'ls', '/etc/passwd'), '/etc/passwd', what);

          for (const name of ['a', 'b', 'b2']) await site.detach(name).catch(() => undefined);
          await site.fill({ mode: 'unlink', disks: [] });
          assert.deepEqual(await linksBelow(site.folder), [], what);
          assert.equal((await ctr('images', 'ls', '-q')).trim(), 'docker.io/library/mine:1', what);
          if (!wasKilled) break;
        }
        assert.ok(kills > (torture ? 40 : 2), `more kills than ${kills} expected`);
        await site.remove();
      });
    });
