import assert from 'node:assert/strict';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { makeSite, type Site } from '../../store/site.ts';
import { savedLayers } from '../../store/saved-image.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd, type ContainerdProcess } from '../../support/containerd.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { writeDockerdConfig } from '../../support/dockerd.ts';
import { buildImage } from '../../support/images.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';

/** Both stores on one data root, filled by the executable from the same disks, whichever of them Docker uses. */
for (const version of torture ? (['26.1', '28.5'] as const) : (['28.5'] as const))
  describe(`dockerd ${version}, which is switched between its two stores`, () => {
    after(cleanUpAll);

    it('has the images of the disks in both, and in each what the user has made there', async () => {
      const site = await makeSite(version);
      const containerd = await startContainerd(version, path.join(site.folder, 'c'));
      await site.configure({ store: 'both', containerdAddress: containerd.address });
      await site.attach((await madeDisk('a')).gzip, 'a');
      await site.attach((await madeDisk('b')).tar, 'b');
      const ofDisks = ['app-a:1', 'app-b:1', 'one:1'];

      for (const [round, isContainerd] of [false, true, false, true].entries()) {
        if (round === 2) {
          // A disk goes, and comes again only when Docker is on the other store: each has let go of its images
          // meanwhile.
          await site.detach('b');
          await switchTo(site, containerd, isContainerd);
          const { all } = await site.apply(3);
          assert.match(all, /2 layers that container made-0, image in-overlay2:1 stand on; they stay in the store;/);
          assert.match(
            all,
            /2 layers that container [0-9a-f]{12}, image docker\.io\/library\/in-containerd:1 stand on; they stay in namespace moby/,
          );
          await site.attach((await madeDisk('b')).tar, 'b');
        }
        await switchTo(site, containerd, isContainerd);
        await site.apply();
        assert.equal((await site.agent('verify', '--deep')).exitCode, 0);
        const dockerd = await start(site, containerd, isContainerd);
        const docker = (...args: readonly string[]): Promise<string> => dockerd.cli(args);
        const run = (image: string, command: string): Promise<string> =>
          docker('run', '--rm', '--network', 'none', image, 'sh', '-c', command);
        // It answers by the store that it is on.
        const driver = await docker('info', '--format', '{{.Driver}}');
        assert.equal(driver, isContainerd ? 'overlayfs' : 'overlay2');
        const his = isContainerd ? 'in-containerd:1' : 'in-overlay2:1';
        const tags = (await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).split('\n').toSorted();
        assert.deepEqual(tags, round < 2 ? ofDisks : [...ofDisks, his].toSorted(), `round ${round}`);
        assert.equal(await run('app-a:1', 'cat /etc/a; ls /data'), 'a\nsub');
        assert.equal(await run('app-b:1', 'cat /etc/b2; ls /data/sub'), 'b2\nz');
        for (const { diffId, digest } of await savedLayers(dockerd, 'app-b:1')) assert.equal(digest, diffId);
        if (round < 2) {
          await buildImage(dockerd, his, 'FROM app-b:1\nRUN echo built > /built\n', 'classic');
          await docker('create', '--name', `made-${round}`, '--network', 'none', 'app-b:1', 'cat', '/etc/b2');
        } else {
          assert.equal(await run(his, 'cat /built /etc/b2'), 'built\nb2');
          assert.equal(await docker('start', '--attach', `made-${round - 2}`), 'b2');
        }
        await dockerd.stop();
      }

      // Not from one of them alone.
      const status = site.status();
      assert.deepEqual(
        status.stores.map(({ store, state }) => [store, state]),
        [
          ['overlay2', 'in-use'],
          ['containerd', 'in-use'],
        ],
      );
      const unlinked = await site.agent('unlink');
      assert.equal(unlinked.exitCode, 3, unlinked.all);
      for (const isContainerd of [false, true]) {
        await switchTo(site, containerd, isContainerd);
        const dockerd = await start(site, containerd, isContainerd);
        const his = isContainerd ? 'in-containerd:1' : 'in-overlay2:1';
        assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', his, 'cat', '/built']), 'built');
        const tags = (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n').toSorted();
        assert.deepEqual(
          tags.filter((tag) => tag !== '<none>:<none>'),
          isContainerd ? ['app-b:1', his] : [his],
        );
        await dockerd.stop();
      }
      await containerd.end();
      await site.remove();
    });
  });

function daemonConfig(containerd: ContainerdProcess, isContainerd: boolean): Readonly<Record<string, unknown>> {
  return { containerd: containerd.address, features: { 'containerd-snapshotter': isContainerd } };
}

/** What the user sets in daemon.json, which the agent reads before dockerd starts. */
async function switchTo(site: Site, containerd: ContainerdProcess, isContainerd: boolean): Promise<void> {
  await writeDockerdConfig({ ...site, extraConfig: daemonConfig(containerd, isContainerd) });
}

function start(site: Site, containerd: ContainerdProcess, isContainerd: boolean): Promise<Dockerd> {
  return site.start({ extraConfig: daemonConfig(containerd, isContainerd) });
}
