import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Inspection } from '../../../agent/verify/inspect-disk.ts';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { fetchDebianPackage } from '../../support/debian-packages.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { digestOf, savedArchive, type ArchiveImage } from './archives.ts';
import { makeTar } from '../tar/make-tar.ts';
import { oddImages } from '../layer/odd-layers.ts';

const libraries = ['libgpgme11', 'libassuan0', 'libgpg-error0', 'libdevmapper1.02.1', 'libseccomp2'];

describe("archives of other tools, from Debian's packages", () => {
  let tree: TempTree;
  let images: readonly ArchiveImage[] = [];
  let packages = '';
  const at = (name: string): string => path.join(tree.path, name);
  const tool = async (name: string, ...args: readonly string[]): Promise<string> => {
    const lib = ['usr/lib', 'lib'].map((folder) => path.join(packages, folder, 'x86_64-linux-gnu')).join(':');
    return (
      await execa(path.join(packages, 'usr/bin', name), args, {
        env: { LD_LIBRARY_PATH: lib, HOME: at('home') },
        cwd: tree.path,
      })
    ).stdout;
  };
  const built = async (archive: string, ...args: readonly string[]): Promise<Inspection> => {
    const { exitCode, all } = await agent(['build', archive, '-o', at('disk.qcow2'), ...args]);
    assert.equal(exitCode, 0, all);
    const inspected = await agent(['inspect', '--deep', '--json', at('disk.qcow2')]);
    assert.equal(inspected.exitCode, 0, inspected.all);
    return JSON.parse(inspected.stdout) as Inspection;
  };
  const diffIds = ({ layers }: ArchiveImage): string[] => layers.map((tar) => `sha256:${digestOf(tar)}`).sort();

  before(async () => {
    tree = await tempTree('dpl-tools');
    packages = await fetchDebianPackage('bookworm', ['skopeo', 'umoci', 'buildah', ...libraries]);
    mkdirSync(at('home'));
    images = await oddImages();
    writeFileSync(at('saved.tar'), savedArchive(images));
    writeFileSync(at('policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  });
  after(cleanUpAll);

  it('skopeo: an OCI layout as folder and as tar, with gzip and zstd layers, and a docker-archive', async () => {
    const small = images[1];
    assert.ok(small);
    const copy = (...args: readonly string[]): Promise<string> =>
      tool('skopeo', '--policy', at('policy.json'), 'copy', ...args);
    await copy('docker-archive:saved.tar:small:1', 'oci:layout:small:2');
    await copy('--dest-compress-format', 'zstd', 'docker-archive:saved.tar:small:1', 'oci-archive:layout.tar:small:3');
    await copy('oci:layout:small:2', 'docker-archive:docker.tar:docker.io/library/small:4');
    for (const [archive, tag] of [
      ['layout', 2],
      ['layout.tar', 3],
      ['docker.tar', 4],
    ] as const) {
      const found = await built(at(archive));
      assert.ok(found.images[0]?.references.includes(`small:${tag}`), archive);
      assert.deepEqual(found.layers.map(({ diffId }) => diffId).sort(), diffIds(small), archive);
    }
  });

  it('umoci: a layout whose image has a tag and no name', async () => {
    const layer = makeTar([{ name: 'by-umoci', content: 'umoci\n' }]);
    writeFileSync(at('layer.tar'), layer);
    await tool('umoci', 'init', '--layout', at('umoci'));
    await tool('umoci', 'new', '--image', `${at('umoci')}:v1`);
    const { exitCode, stderr } = await agent(['build', '--quiet', at('umoci'), '-o', at('empty.qcow2')]);
    assert.match(
      stderr,
      /sha256:\w{64} of \S+ has no name on the disk, only the tag 'v1': build \S+=NAME:TAG names it/,
    );
    assert.equal(exitCode, 0);
    await tool('umoci', 'raw', 'add-layer', '--image', `${at('umoci')}:v1`, at('layer.tar'));
    const found = await built(at('umoci'), '--tag', 'by/umoci:v1');
    assert.ok(found.images[0]?.references.includes('by/umoci:v1'));
    assert.deepEqual(
      found.layers.map(({ diffId }) => diffId),
      [`sha256:${digestOf(layer)}`],
    );
  });

  it('buildah: an image made from nothing', async () => {
    const buildah = (...args: readonly string[]): Promise<string> =>
      tool('buildah', '--storage-driver', 'vfs', '--root', at('storage'), '--runroot', at('run'), ...args);
    mkdirSync(at('content'));
    writeFileSync(at('content/file'), 'buildah\n');
    const container = await buildah('from', 'scratch');
    await buildah('add', container, at('content'), '/made');
    await buildah(
      'commit',
      '--signature-policy',
      at('policy.json'),
      container,
      `oci:${at('buildah')}:localhost/by-buildah:1`,
    );
    const found = await built(at('buildah'));
    const [manifest] = (
      JSON.parse(readFileSync(at('buildah/index.json'), 'utf8')) as { manifests: { digest: string }[] }
    ).manifests;
    assert.deepEqual(found.images[0]?.references, [
      'localhost/by-buildah:1',
      `localhost/by-buildah@${manifest?.digest ?? ''}`,
    ]);
    assert.equal(found.layers.length, 1);
  });
});
