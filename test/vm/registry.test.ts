import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent, agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { ok, until } from '../support/guest.ts';
import { agentStatus, dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { busyboxRoot } from '../support/images.ts';
import { makeVirtualMachine, type VirtualMachine } from '../support/qemu.ts';
import { authFileFor, startGuardedRegistry } from '../support/guarded-registry.ts';
import type { Registry } from '../support/registry.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';

const suite = chosenSuite('trixie');
const images = ['app:1', 'registry.example/db:2'] as const;

/** Nothing of this machine's user and its programs' state is there: a machine that has pulled nothing yet. */
const EMPTY_MACHINE =
  'for folder in /root /var /run /home; do mount -t tmpfs tmpfs $folder || exit; done; mount --bind "$1" /mnt && cd /mnt && shift && exec env -i PATH="$PATH" HOME=/root "$@"';

describe(`a disk from a registry, in a virtual machine with Debian ${suite}`, () => {
  let tree: TempTree;
  let registry: Registry;
  let vm: VirtualMachine;
  const at = (name: string): string => path.join(tree.path, name);

  before(async () => {
    await ensureDebianPackages(['qemu-utils', 'skopeo', 'golang-github-containers-common', 'openssl'], {
      install: true,
    });
    tree = await tempTree('dpl-vm-registry');
    for (const folder of ['registry', 'machine']) mkdirSync(at(folder));
    registry = await startGuardedRegistry(at('registry'));
    const base = await busyboxRoot();
    const archive = await dockerArchive(
      images.map((tag) => ({ tags: [tag], layers: [base, [{ name: 'name', content: `${tag}\n` }]] })),
    );
    writeFileSync(at('images.tar'), archive);
    writeFileSync(at('auth.json'), authFileFor(registry), { mode: 0o600 });
    vm = await makeVirtualMachine({ suite, ...preloadedGuest() });
  });
  after(cleanUpAll);

  it('is pushed, pulled on an empty machine byte for byte, attached, and its images run', async () => {
    const where = `docker://${registry.address}/disks/images:1`;
    const access = ['--insecure', '--authfile', at('auth.json')];
    const build = ['build', '--quiet', at('images.tar'), '--compress', '--json'];
    for (const more of [
      ['--push', where, ...access],
      ['-o', at('here.qcow2')],
    ]) {
      const { exitCode, all } = await agent([...build, ...more]);
      assert.equal(exitCode, 0, all);
    }
    writeFileSync(at('machine/auth.json'), authFileFor(registry), { mode: 0o600 });
    const pull = ['pull', where, '-o', 'images.qcow2', '--insecure', '--authfile', 'auth.json', '--quiet'];
    await execa('unshare', [
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      EMPTY_MACHINE,
      'sh',
      at('machine'),
      ...agentCommand(),
      ...pull,
    ]);
    assert.deepEqual(readdirSync(at('machine')).toSorted(), ['auth.json', 'images.qcow2']);
    assert.ok(readFileSync(at('machine/images.qcow2')).equals(readFileSync(at('here.qcow2'))));

    await vm.boot([{ id: 'images', file: at('machine/images.qcow2') }]);
    await until(vm, 'systemctl is-active docker', 240);
    assert.deepEqual(await dockerImages(vm), images);
    for (const name of images) assert.equal(await nameInContainer(vm, name), name);
    assert.equal((await agentStatus(vm)).state, 'ok');
    await ok(vm, 'docker-preloader verify --deep');
    await vm.poweroff();
  });
});
