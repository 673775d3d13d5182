import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import type { FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { isFurtherName } from '../../../agent/containerd/record-names.ts';
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

/** Every n-th call; all of them in torture, and then of each of the two alone. */
const STRIDE = torture ? 1 : 23;
const WHO = torture ? (['the run', 'containerd'] as const) : (['the run or containerd'] as const);

/** That of Kubernetes has further names and labels; else it goes the same way. */
const NAMESPACES = torture ? ['moby', 'k8s.io'] : ['moby'];

const runs = NAMESPACES.flatMap((namespace) =>
  WHO.flatMap((who) => stories.map((story) => ({ ...story, namespace, who }))),
);

for (const version of torture ? (['28.5', '26.1', '20.10'] as const) : (['28.5'] as const))
  for (const { is, before, changes, images, namespace, who } of runs)
    describe(`namespace ${namespace} of the containerd of dockerd ${version}, ${is}: ${who} killed at a call`, () => {
      after(cleanUpAll);

      it('has all of it after the next run, and nothing of the user is lost', async () => {
        const site = await ContainerdSite.make(version);
        const ctr = (...args: readonly string[]): Promise<string> => site.containerd.ctr(['-n', namespace, ...args]);
        const fill = (more: Partial<FillOptions> = {}): ReturnType<ContainerdSite['fill']> =>
          site.fill({ namespaces: [namespace], ...more });
        const { archive } = await madeDisk('user');
        let kills = 0;
        for (let at = 1 + (version.length % 3); ; at += STRIDE) {
          await ctr('images', 'import', archive);
          await ctr('images', 'rm', 'docker.io/library/app-a:1');
          await before(site);
          await fill();
          await changes(site);
          const isContainerd = who === 'containerd' || (who !== 'the run' && kills % 2 === 1);
          const what = `${isContainerd ? 'containerd' : 'the run'} killed at call ${at}`;
          const { wasKilled, said } = isContainerd
            ? await site.abandonedFill(at, { namespaces: [namespace] })
            : { wasKilled: await site.killedFill(at, { namespaces: [namespace] }), said: '' };
          kills += Number(wasKilled);
          if (said !== '') assert.match(said, /code: 'STORE_WRITE'/, `${what}: ${said}`);
          if (isContainerd || kills % 3 === 1) {
            await site.containerd.kill();
            await site.startContainerd();
          }
          // A collection in between takes what no lease and no image keeps.
          if (kills % 3 === 2) {
            await ctr('images', 'tag', 'docker.io/library/mine:1', 'other:1');
            await ctr('images', 'rm', '--sync', 'other:1');
          }

          const run = await fill();
          assert.deepEqual(codesOf(run), [], `${what}: ${JSON.stringify(run.findings)}`);
          assert.deepEqual(stepsOf(await fill()), [], what);
          const all = (await ctr('images', 'ls', '-q')).split('\n');
          const names = all.filter((name) => !isFurtherName(namespace, name));
          const further = namespace === 'k8s.io' ? 2 * (names.length - 1) : 0;
          assert.equal(all.length - names.length, further, what);
          assert.deepEqual(names.map((name) => name.replace('docker.io/library/', '')).join(' '), images, what);
          assert.match(await ctr('images', 'check'), /mine:1 .*complete/, what);
          assert.equal((await ctr('leases', 'ls', '-q')).trim(), '', what);
          const top = names.find((name) => name.includes('app-b')) ?? '';
          assert.equal(await site.containerd.run(namespace, top, 'ls', '/etc/passwd'), '/etc/passwd', what);

          for (const name of ['a', 'b', 'b2']) await site.detach(name).catch(() => undefined);
          await fill({ mode: 'unlink', disks: [] });
          assert.deepEqual(await linksBelow(site.folder), [], what);
          assert.equal((await ctr('images', 'ls', '-q')).trim(), 'docker.io/library/mine:1', what);
          if (!wasKilled) break;
        }
        assert.ok(kills > (torture ? 40 : 2), `expected more kills, found ${kills}`);
        await site.remove();
      });
    });

describe('a containerd that was killed while it began a snapshot', () => {
  after(cleanUpAll);

  for (const version of torture ? (['28.5', '26.1', '20.10'] as const) : (['28.5'] as const))
    it(`of dockerd ${version} has left a folder in the place of the next one, which is in the way of no layer`, async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a');
      await site.fill();
      await site.containerd.stop();
      const snapshots = path.join(site.containerd.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots');
      const next = String(Math.max(...readdirSync(snapshots).map(Number)) + 1);
      for (const name of ['fs', 'work']) mkdirSync(path.join(snapshots, next, name), { recursive: true });
      await site.startContainerd();
      await site.attach('b');
      assert.ok(stepsOf(await site.fill()).includes('make-layer'));
      assert.deepEqual(stepsOf(await site.fill()), []);
      await site.remove();
    });
});
