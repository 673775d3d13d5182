import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages, fetchDebianPackage } from '../../support/debian-packages.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { ociLayout, tarOf, type ArchiveImage } from '../archive/archives.ts';
import { makeTar } from '../tar/make-tar.ts';

const image: ArchiveImage = {
  tags: ['one:1'],
  layers: [makeTar([{ name: 'one', content: 'one' }]), makeTar([{ name: 'two', content: 'two' }])],
};
const libraries = [
  'libgpgme11',
  'libassuan0',
  'libgpg-error0',
  'libdevmapper1.02.1',
  'libseccomp2',
  'libsubid4',
  'conmon',
];

describe('disks and images, and other clients of registries', () => {
  let tree: TempTree;
  let registry: Registry;
  let packages = '';
  const at = (name: string): string => path.join(tree.path, name);
  const tool = async (name: string, ...args: readonly string[]): Promise<string> => {
    const lib = ['usr/lib', 'lib'].map((folder) => path.join(packages, folder, 'x86_64-linux-gnu')).join(':');
    const env = { LD_LIBRARY_PATH: lib, HOME: at('home'), XDG_RUNTIME_DIR: at('home') };
    return (await execa(path.join(packages, 'usr/bin', name), args, { env, cwd: tree.path })).stdout;
  };
  const storage = (name: 'buildah' | 'podman', ...args: readonly string[]): Promise<string> =>
    tool(
      name,
      ...(name === 'podman' ? ['--conmon', path.join(packages, 'usr/bin/conmon')] : []),
      '--storage-driver',
      'vfs',
      '--root',
      at('storage'),
      '--runroot',
      at('run'),
      ...args,
    );
  const done = async (...args: readonly string[]): Promise<void> => {
    const { exitCode, all } = await agent(args);
    assert.equal(exitCode, 0, all);
  };

  before(async () => {
    await ensureDebianPackages(['qemu-utils', 'skopeo', 'golang-github-containers-common'], { install: true });
    packages = await fetchDebianPackage('bookworm', ['skopeo', 'umoci', 'buildah', 'podman', ...libraries]);
    tree = await tempTree('dpl-clients');
    for (const folder of ['home', 'registry', 'files']) mkdirSync(at(folder));
    registry = await startRegistry(at('registry'));
    writeFileSync(at('one.tar'), tarOf(ociLayout([image], 'gzip')));
    writeFileSync(at('policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    await done('build', '--quiet', at('one.tar'), '-o', at('one.qcow2'));
    await done('export', at('one.qcow2'), 'one:1', '-o', at('image.tar'), '--quiet');
  });
  after(cleanUpAll);

  it('pull takes a containerDisk that buildah made and pushed', async () => {
    copyFileSync(at('one.qcow2'), at('files/fedora.qcow2'));
    const container = await storage('buildah', 'from', 'scratch');
    await storage('buildah', 'add', '--chown', '107:107', container, at('files/fedora.qcow2'), '/disk/');
    const policy = ['--signature-policy', at('policy.json')];
    await storage('buildah', 'commit', ...policy, container, 'localhost/disk:1');
    const where = `docker://${registry.address}/by/buildah:1`;
    await storage('buildah', 'push', ...policy, '--tls-verify=false', 'localhost/disk:1', where);
    await done('pull', where, '-o', at('pulled.qcow2'), '--insecure', '--quiet');
    assert.ok(readFileSync(at('pulled.qcow2')).equals(readFileSync(at('one.qcow2'))));
  });

  it('podman and skopeo take a disk that was pushed, under the digest that build tells', async () => {
    const where = `${registry.address}/disks/one:1`;
    const { stdout } = await agent([
      'build',
      '--quiet',
      '--json',
      at('one.tar'),
      '--push',
      `docker://${where}`,
      '--insecure',
    ]);
    const { pushed } = JSON.parse(stdout) as { pushed: string };
    await storage('podman', 'pull', '--quiet', '--signature-policy', at('policy.json'), '--tls-verify=false', where);
    assert.equal(
      await storage('podman', 'image', 'inspect', '--format', '{{.Digest}}', where),
      pushed.slice(pushed.indexOf('@') + 1),
    );
    assert.match(
      await tool('skopeo', 'inspect', '--tls-verify=false', '--format', '{{.Labels}}', `docker://${where}`),
      /docker-preloader\.label:dpl-/,
    );
  });

  it('umoci unpacks an image that export gave back', async () => {
    mkdirSync(at('layout'));
    await execa('tar', ['--extract', '--file', at('image.tar'), '--directory', at('layout')]);
    await tool('umoci', 'unpack', '--image', `${at('layout')}:1`, at('bundle'));
    for (const name of ['one', 'two']) assert.equal(readFileSync(at(`bundle/rootfs/${name}`), 'utf8'), name);
  });

  it('buildah pulls it, and a registry has it under the manifest that went in', async () => {
    const name = await storage(
      'buildah',
      'pull',
      '--quiet',
      '--signature-policy',
      at('policy.json'),
      `oci-archive:${at('image.tar')}`,
    );
    assert.match(name, /^[0-9a-f]{64}$/);
    const where = `docker://${registry.address}/back/one:1`;
    const copy = ['--policy', at('policy.json'), 'copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false'];
    await tool('skopeo', ...copy, `oci-archive:${at('image.tar')}`, where);
    const { manifests } = JSON.parse(ociLayout([image], 'gzip').get('index.json')?.toString() ?? '') as {
      manifests: { digest: string }[];
    };
    const found = await tool('skopeo', 'inspect', '--tls-verify=false', '--format', '{{.Digest}}', where);
    assert.equal(found, manifests[0]?.digest);
  });
});
