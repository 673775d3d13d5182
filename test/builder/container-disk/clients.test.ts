import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { imageTools, type ImageTools } from '../../support/image-tools.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { ociLayout, tarOf, type ArchiveImage } from '../archive/archives.ts';
import { makeTar } from '../tar/make-tar.ts';

const image: ArchiveImage = {
  tags: ['one:1'],
  layers: [makeTar([{ name: 'one', content: 'one' }]), makeTar([{ name: 'two', content: 'two' }])],
};

describe('disks and images, and other clients of registries', () => {
  let tree: TempTree;
  let tools: ImageTools;
  let registry: Registry;
  const at = (name: string): string => path.join(tree.path, name);
  const storage = (name: 'buildah' | 'podman', ...args: readonly string[]): Promise<string> =>
    tools.run(name, ['--storage-driver', 'vfs', '--root', at('storage'), '--runroot', at('run'), ...args]);
  const skopeo = (...args: readonly string[]): Promise<string> => tools.run('skopeo', args);
  const umoci = (...args: readonly string[]): Promise<string> => tools.run('umoci', args);
  const done = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, all, stdout } = await agent(args, tools.env);
    assert.equal(exitCode, 0, all);
    return stdout;
  };
  const isDisk = (name: string): void => assert.ok(readFileSync(at(name)).equals(readFileSync(at('one.qcow2'))));

  before(async () => {
    tree = await tempTree('dpl-clients');
    for (const folder of ['registry', 'files']) mkdirSync(at(folder));
    tools = await imageTools(tree.path);
    registry = await startRegistry(at('registry'));
    writeFileSync(at('one.tar'), tarOf(ociLayout([image], 'gzip')));
    await done('build', '--quiet', at('one.tar'), '-o', at('one.qcow2'));
    copyFileSync(at('one.qcow2'), at('files/fedora.qcow2'));
    await done('build', '--quiet', at('one.tar'), '--format', 'containerdisk', '-o', at('disk.tar'));
    await done('export', at('one.qcow2'), 'one:1', '-o', at('image.tar'), '--quiet');
  });
  after(cleanUpAll);

  for (const [who, push] of [
    [
      'buildah made and pushed',
      async (to: string) => {
        const container = await storage('buildah', 'from', 'scratch');
        await storage('buildah', 'add', '--chown', '107:107', container, at('files/fedora.qcow2'), '/disk/');
        await storage('buildah', 'commit', container, 'localhost/disk:1');
        await storage('buildah', 'push', '--tls-verify=false', 'localhost/disk:1', to);
      },
    ],
    [
      'umoci made',
      async (to: string) => {
        const layout = at('made-by-umoci');
        await umoci('init', '--layout', layout);
        await umoci('new', '--image', `${layout}:1`);
        await umoci('insert', '--image', `${layout}:1`, at('files'), '/disk');
        await skopeo('copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:1`, to);
      },
    ],
    [
      'build made, and skopeo pushed',
      (to: string) => skopeo('copy', '--quiet', '--dest-tls-verify=false', `oci-archive:${at('disk.tar')}`, to),
    ],
    [
      'build made, and podman loaded and pushed',
      async (to: string) => {
        const said = await storage('podman', 'load', '--quiet', '--input', at('disk.tar'));
        const id = /sha256:[0-9a-f]{64}/.exec(said)?.[0] ?? assert.fail(said);
        await storage('podman', 'push', '--quiet', '--tls-verify=false', id, to);
      },
    ],
  ] as const)
    it(`pull takes a containerDisk that ${who}`, async () => {
      const where = `docker://${registry.address}/by/${who.replaceAll(/\W+/g, '-')}:1`;
      await push(where);
      await done('pull', where, '-o', at('pulled.qcow2'), '--insecure', '--quiet');
      isDisk('pulled.qcow2');
    });

  it('all of them take a disk that was pushed, under the digest that build tells', async () => {
    const where = `${registry.address}/disks/one:1`;
    const args = ['--quiet', '--json', at('one.tar'), '--push', `docker://${where}`, '--insecure'];
    const { pushed } = JSON.parse(await done('build', ...args)) as { pushed: string };
    const digest = pushed.slice(pushed.indexOf('@') + 1);
    for (const client of ['podman', 'buildah'] as const) {
      await storage(client, 'pull', '--quiet', '--tls-verify=false', `docker://${where}`);
      assert.equal(await storage('podman', 'image', 'inspect', '--format', '{{.Digest}}', where), digest);
      await storage('podman', 'image', 'rm', where);
    }
    assert.match(
      await skopeo('inspect', '--tls-verify=false', '--format', '{{.Labels}}', `docker://${where}`),
      /docker-preloader\.label:dpl-/,
    );
    const layout = `oci:${at('pushed')}:1`;
    await skopeo('copy', '--quiet', '--preserve-digests', '--src-tls-verify=false', `docker://${where}`, layout);
    assert.ok(readFileSync(at('pushed/index.json'), 'utf8').includes(digest));
    await umoci('unpack', '--image', `${at('pushed')}:1`, at('disk-bundle'));
    const { label } = JSON.parse(await done('inspect', '--json', at('one.qcow2'))) as { label: string };
    isDisk(`disk-bundle/rootfs/disk/${label}.qcow2`);
  });

  it('umoci unpacks an image that export gave back', async () => {
    mkdirSync(at('layout'));
    await execa('tar', ['--extract', '--file', at('image.tar'), '--directory', at('layout')]);
    await umoci('unpack', '--image', `${at('layout')}:1`, at('bundle'));
    for (const name of ['one', 'two']) assert.equal(readFileSync(at(`bundle/rootfs/${name}`), 'utf8'), name);
  });

  it('buildah and podman take it, and a registry has it under the manifest that went in', async () => {
    assert.match(await storage('buildah', 'pull', '--quiet', `oci-archive:${at('image.tar')}`), /^[0-9a-f]{64}$/);
    assert.match(await storage('podman', 'load', '--quiet', '--input', at('image.tar')), /^Loaded image: \S+$/);
    const where = `docker://${registry.address}/back/one:1`;
    const copy = ['copy', '--quiet', '--preserve-digests', '--dest-tls-verify=false'];
    await skopeo(...copy, `oci-archive:${at('image.tar')}`, where);
    const { manifests } = JSON.parse(ociLayout([image], 'gzip').get('index.json')?.toString() ?? '') as {
      manifests: { digest: string }[];
    };
    const found = await skopeo('inspect', '--tls-verify=false', '--format', '{{.Digest}}', where);
    assert.equal(found, manifests[0]?.digest);
  });
});
