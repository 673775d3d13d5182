import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeKey, publicLine } from '../support/signing-key.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { expectLeftOut, namedDisk } from './signed-disks.ts';
import { makeSite } from './site.ts';

describe('a guest that takes signed disks alone', () => {
  let tree: TempTree;
  let key: string;
  let other: string;

  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'openssh-client'], { install: true });
    tree = await tempTree('dpl-signed-store');
    key = makeKey(path.join(tree.path, 'key'));
    other = makeKey(path.join(tree.path, 'other'));
  });
  after(cleanUpAll);

  const diskOf = (name: string, ...args: readonly string[]): Promise<string> => namedDisk(tree.path, name, ...args);

  it('runs what these have, of several keys, and nothing of the others, and each command says so', async () => {
    const site = await makeSite('28.5');
    await site.attach(await diskOf('ours', '--sign', key), 'ours');
    await site.attach(await diskOf('theirs', '--sign', other), 'theirs');
    await site.attach(await diskOf('nobody'), 'nobody');
    await site.configure({ trustedKeys: [key].map(publicLine) });
    await expectLeftOut(site, ['apply', 'plan', 'verify']);
    const { state, disks } = site.status();
    assert.equal(state, 'degraded');
    assert.deepEqual(
      disks
        .map(({ label, state: is, error, signedBy }) => [label, is, error?.code, signedBy?.slice(0, 7)])
        .toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
      [
        [site.labelOf('nobody'), 'refused', 'DISK_UNSIGNED', undefined],
        [site.labelOf('ours'), 'in-use', undefined, 'SHA256:'],
        [site.labelOf('theirs'), 'refused', 'SIGNATURE_UNTRUSTED', undefined],
      ],
    );
    const dockerd = await site.start();
    assert.equal(await dockerd.cli(['run', '--rm', '--network=none', 'ours:1', 'cat', '/file']), 'ours');
    assert.equal(await dockerd.cli(['images', '--format', '{{.Repository}}']), 'ours');
    await dockerd.stop();

    // With the other key, too, its disk comes, and with that alone the first one goes.
    await site.configure({ trustedKeys: [key, other].map(publicLine) });
    await site.apply(3);
    await site.configure({ trustedKeys: [publicLine(other)] });
    await site.apply(3);
    const again = await site.start();
    assert.equal(await again.cli(['images', '--format', '{{.Repository}}']), 'theirs');
    await again.stop();
    await site.remove();
  });

  it('does not read the content of layers at a boot: what was changed there only verify --deep finds', async () => {
    const disk = await diskOf('deep', '--sign', key);
    const { layers } = JSON.parse((await agent(['inspect', '--json', disk])).stdout) as {
      layers: { cacheId: string }[];
    };
    const strange = path.join(tree.path, 'strange');
    writeFileSync(strange, 'evil\n');
    const input = layers.map(
      ({ cacheId }) => `rm /overlay2/${cacheId}/diff/file\nwrite ${strange} /overlay2/${cacheId}/diff/file\n`,
    );
    await execa('debugfs', ['-w', '-f', '-', disk], { input: input.join('') });
    const site = await makeSite('28.5');
    await site.attach(disk, 'deep');
    await site.configure({ trustedKeys: [publicLine(key)] });
    await site.apply();
    assert.equal((await site.agent('verify')).exitCode, 0);
    const deep = await site.agent('verify', '--deep');
    assert.equal(deep.exitCode, 1);
    assert.match(deep.all, /^CONTENT_WRONG: disk .*: layer sha256:/m);
    await site.remove();
  });
});
