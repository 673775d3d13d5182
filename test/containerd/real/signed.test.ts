import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { expectLeftOut, namedDisk } from '../../store/signed-disks.ts';
import { makeSite, type Site } from '../../store/site.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd, type ContainerdProcess } from '../../support/containerd.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { makeKey, publicLine } from '../../support/signing-key.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';

const version = '28.5';

describe(`a guest that takes signed disks alone, with the images of dockerd ${version} in containerd`, () => {
  let tree: TempTree;
  let site: Site;
  let containerd: ContainerdProcess;
  let docker: Dockerd;
  let key: string;
  let other: string;

  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'openssh-client'], { install: true });
    tree = await tempTree('dpl-signed-ctd');
    key = makeKey(path.join(tree.path, 'key'));
    other = makeKey(path.join(tree.path, 'other'));
    site = await makeSite(version);
    containerd = await startContainerd(version, path.join(site.folder, 'c'));
    await configure({ trustedKeys: [publicLine(key)] });
    for (const [name, ...args] of [['ours', '--sign', key], ['theirs', '--sign', other], ['nobody']] as const)
      await site.attach(await diskOf(name, ...args), name);
    docker = await start();
  });
  after(async () => {
    await docker.kill();
    await containerd.end();
    await site.remove();
    await cleanUpAll();
  });

  const configure = (more: Readonly<Record<string, unknown>>): Promise<void> =>
    site.configure({ store: 'containerd', containerdAddress: containerd.address, ...more });
  const start = (): Promise<Dockerd> =>
    site.start({
      extraConfig: { containerd: containerd.address, features: { 'containerd-snapshotter': true } },
    });
  const diskOf = (name: string, ...args: readonly string[]): Promise<string> => namedDisk(tree.path, name, ...args);
  const images = async (): Promise<string> =>
    (await docker.cli(['images', '--format', '{{.Repository}}'])).split('\n').toSorted().join(' ');
  const run = (image: string): Promise<string> =>
    docker.cli(['run', '--rm', '--network', 'none', image, 'cat', '/file']);
  const codes = (): string[] =>
    site
      .status()
      .disks.map(({ label, error }) => `${label.slice(site.labelOf('').length)} ${error?.code ?? 'in use'}`)
      .toSorted();

  it('has the images of the disk that a trusted key has signed, and of no other, and each command says so', async () => {
    await expectLeftOut(site, ['plan', 'apply', 'verify']);
    assert.deepEqual(codes(), ['nobody DISK_UNSIGNED', 'ours in use', 'theirs SIGNATURE_UNTRUSTED']);
    assert.equal(await images(), 'ours');
    assert.equal(await run('ours:1'), 'ours');
  });

  it('follows the keys: what one of them has signed comes, and goes with it', async () => {
    await configure({ trustedKeys: [key, other].map(publicLine) });
    await site.apply(3);
    assert.equal(await images(), 'ours theirs');
    assert.equal(await run('theirs:1'), 'theirs');
    await configure({ trustedKeys: [publicLine(other)] });
    await site.apply(3);
    assert.equal(await images(), 'theirs');
    assert.deepEqual(codes(), ['nobody DISK_UNSIGNED', 'ours SIGNATURE_UNTRUSTED', 'theirs in use']);
  });

  it('changes nothing with a wrong key, and says which', async () => {
    for (const trustedKeys of [[], ['ssh-ed25519 AAAA'], 'everybody', [publicLine(key), 'x']]) {
      await configure({ trustedKeys });
      for (const command of ['apply', 'plan']) {
        const { exitCode, all } = await site.agent(command);
        assert.equal(exitCode, 2, all);
        assert.match(all, /config\.json: `trustedKeys/);
      }
    }
    assert.equal(await images(), 'theirs');
  });

  it('uses no manifest for containerd that is not as it was signed: it makes one of what was', async () => {
    const disk = await diskOf('changed', '--sign', key);
    const { stdout } = await execa('debugfs', ['-R', 'ls -p /manifests/sha256', disk]);
    const [name = '', ...more] = [...stdout.matchAll(/\/([0-9a-f]{64})\//g)].map(([, digest]) => digest ?? '');
    assert.deepEqual([name.length, more], [64, []], stdout);
    const strange = path.join(tree.path, 'strange');
    writeFileSync(strange, '{"schemaVersion":2}');
    const file = `/manifests/sha256/${name}`;
    await execa('debugfs', ['-w', '-f', '-', disk], { input: `rm ${file}\nwrite ${strange} ${file}\n` });
    await site.attach(disk, 'changed');
    await configure({ trustedKeys: [publicLine(key)] });
    const { all } = await site.apply(3);
    assert.match(
      all,
      new RegExp(
        `disk ${site.labelOf('changed')}: image sha256:\\w+: its manifest for containerd is left out: \\S+: expected \\d+ bytes, found 19`,
      ),
    );
    assert.equal(await images(), 'changed ours');
    assert.equal(await run('changed:1'), 'changed');
    const { exitCode } = await site.agent('verify');
    assert.equal(exitCode, 1);
  });
});
