import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { copyDisk } from '../support/copied-disk.ts';
import { changedFiles, observe } from '../support/images.ts';
import { mountsBelow } from '../support/temp-tree.ts';
import { fixtures } from './fixtures.ts';
import { makeSite } from './site.ts';

describe('a folder in the place of a disk', () => {
  after(cleanUpAll);

  it('gives Docker its images, which run, are saved and built on, and takes them away again', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    const at = (name: string): string => path.join(site.folder, name);
    await mkdir(at('sources'));
    await copyDisk(made.first, at('sources/first'));
    await site.configure({ sources: [at('sources/*')] });
    assert.match((await site.agent('plan')).all, /multi:1/);
    assert.deepEqual(mountsBelow(site.folder), []);
    await site.apply();
    assert.deepEqual([site.status().state, site.status().findings], ['ok', []]);
    assert.match((await site.apply()).all, /ok: .* nothing to change/);
    const verified = await site.agent('verify', '--deep');
    assert.equal(verified.exitCode, 0, verified.all);

    const dockerd = await site.start();
    const run = (...args: readonly string[]): Promise<string> =>
      dockerd.cli(['run', '--rm', '--network', 'none', 'multi:1', ...args]);
    assert.equal(await run('sh', '-c', observe), changedFiles);
    await dockerd.cli(['save', '--output', at('saved.tar'), 'multi:1']);
    await dockerd.cli(['run', '--name', 'mine', '--network', 'none', 'left:1', 'sh', '-c', 'echo mine > /mine']);
    await dockerd.stop();

    rmSync(at('sources/first'), { recursive: true });
    const gone = await site.agent('apply');
    assert.equal(gone.exitCode, 3, gone.all);
    assert.deepEqual(
      site.status().findings.map(({ code }) => code),
      ['KEPT'],
    );
    await copyDisk(made.first, at('sources/first'));
    await site.apply();
    const again = await site.start();
    assert.equal(await again.cli(['start', '--attach', 'mine']), '');
    await again.cli(['rm', 'mine']);
    await again.stop();
    const unlinked = await site.agent('unlink');
    assert.equal(unlinked.exitCode, 0, unlinked.all);
    assert.deepEqual([mountsBelow(site.folder), readdirSync(at('disks'))], [[], []]);
    await site.remove();
  });

  it('is taken by apply in a privileged container, from a bind mount that is read-only', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    const at = (name: string): string => path.join(site.folder, name);
    await copyDisk(made.first, at('first'));
    // Others may enter it on the host, but not write to it in the container.
    await chmod(at('first'), 0o755);
    const config = { labels: [], sources: ['/preload/first'], deviceTimeoutSec: 1, dockerConfig: '/none.json' };
    await writeFile(at('inner.json'), JSON.stringify(config));
    await mkdir(at('inner'));
    await site.attach(made.second);
    await site.apply();
    const dockerd = await site.start();
    const look = [
      'docker-preloader apply --config /inner.json 2>&1; echo "status $?"',
      'grep docker-preloader/disks /proc/mounts',
      'cat /var/lib/docker/image/overlay2/repositories.json',
      'ls -l /var/lib/docker/overlay2/*/diff | grep -c /run/docker-preloader/disks/first/overlay2/',
    ].join('; ');
    const inner = async (readOnly: boolean): Promise<string> =>
      dockerd.cli(
        [
          ['run', '--rm', '--privileged', '--network', 'none'],
          ['--volume', `${at('first')}:/preload/first${readOnly ? ':ro' : ''}`],
          ['--volume', `${at('inner')}:/var/lib/docker`],
          ['--volume', `${agentCommand()[0]}:/bin/docker-preloader:ro`],
          ['--volume', `${at('inner.json')}:/inner.json:ro`],
          ['base:1', 'sh', '-c', look],
        ].flat(),
      );
    const refused = await inner(false).catch(String);
    assert.match(
      refused,
      /source \/preload\/first: expected a folder that is mounted read-only or that root alone can enter/,
    );
    assert.match(refused, /status 3/);
    const taken = await inner(true);
    assert.match(
      taken,
      /ok: 1 disk, 9 images,[^\n]*\nstatus 0\n\S+ \/run\/docker-preloader\/disks\/first \S+ ro,nosuid,nodev,noexec/,
    );
    assert.match(taken, /"multi:1"/);
    assert.match(taken, /\}19$/);
    await dockerd.stop();
    await site.remove();
  });
});
