import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import type { Inspection } from '../../../agent/verify/inspect-disk.ts';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { digestOf, imageConfig, savedArchive } from './archives.ts';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';

/** Archives of tools that are not to be had here, entry for entry as their sources write them. */
describe('archives of other shapes', () => {
  let tree: TempTree;
  before(async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    tree = await tempTree('dpl-shapes');
  });
  after(cleanUpAll);

  async function build(name: string, archive: Buffer, ...args: readonly string[]): Promise<Inspection> {
    const [file, disk] = [path.join(tree.path, name), path.join(tree.path, `${name}.disk`)];
    writeFileSync(file, archive);
    const { exitCode, all } = await agent(['build', file, '-o', disk, '--format', 'raw', ...args]);
    assert.equal(exitCode, 0, all);
    const inspected = await agent(['inspect', '--deep', '--json', disk]);
    assert.equal(inspected.exitCode, 0, inspected.all);
    return JSON.parse(inspected.stdout) as Inspection;
  }

  // nixpkgs, pkgs/build-support/docker/stream_layered_image.py: times of 1 s, folders first, owners 0, no
  // `repositories`.
  const storePath = '0c2ymz8d7wzhjcn4rqaqv2y8v6ipp9gq-hello-2.12.1';
  const nixLayer = makeTar([
    { name: '/nix', type: '5', mode: 0o755, mtimeSec: 1 },
    { name: '/nix/store', type: '5', mode: 0o755, mtimeSec: 1 },
    { name: `/nix/store/${storePath}`, type: '5', mode: 0o555, mtimeSec: 1 },
    { name: `/nix/store/${storePath}/bin`, type: '5', mode: 0o555, mtimeSec: 1 },
    { name: `/nix/store/${storePath}/bin/hello`, content: 'hello', mode: 0o555, mtimeSec: 1 },
  ]);
  const customisation = makeTar([
    { name: './', type: '5', mtimeSec: 1 },
    { name: './bin', type: '2', linkName: `nix/store/${storePath}/bin`, mode: 0o777, mtimeSec: 1 },
  ]);
  const layers = [nixLayer, customisation];
  const { config, id } = imageConfig(layers);

  for (const packed of [false, true]) {
    it(`takes what Nix's ${packed ? 'buildLayeredImage' : 'streamLayeredImage'} writes`, async () => {
      const files: MadeEntry[] = layers.map((content) => ({
        name: `${digestOf(content)}/layer.tar`,
        content,
        mtimeSec: 1,
      }));
      const manifest = [{ Config: `${id}.json`, RepoTags: ['hello:0c2ymz8d'], Layers: files.map(({ name }) => name) }];
      files.push(
        { name: `${id}.json`, content: config, mtimeSec: 1 },
        { name: 'manifest.json', content: JSON.stringify(manifest), mtimeSec: 1 },
      );
      const archive = makeTar(files);
      const { images, layers: found } = await build(
        packed ? 'hello.tar.gz' : 'hello.tar',
        packed ? gzipSync(archive) : archive,
      );
      assert.deepEqual(
        images.map((image) => [image.id, image.references]),
        [[`sha256:${id}`, ['hello:0c2ymz8d']]],
      );
      assert.equal(found.length, 2);
      const { stdout } = await execa('debugfs', [
        '-R',
        `stat overlay2`,
        path.join(tree.path, packed ? 'hello.tar.gz.disk' : 'hello.tar.disk'),
      ]);
      assert.match(stdout, /Type: directory/);
    });
  }

  it("takes what Nix's buildImage writes: `./` before every name, a folder a layer, `repositories`", async () => {
    const names = layers.map((content) => `./${digestOf(content)}`);
    const files: MadeEntry[] = [{ name: './', type: '5', mtimeSec: 1 }];
    for (const [index, content] of layers.entries()) {
      files.push(
        { name: `${names[index] ?? ''}/`, type: '5', mtimeSec: 1 },
        { name: `${names[index] ?? ''}/VERSION`, content: '1.0', mtimeSec: 1 },
        { name: `${names[index] ?? ''}/json`, content: '{}', mtimeSec: 1 },
        { name: `${names[index] ?? ''}/layer.tar`, content, mtimeSec: 1 },
      );
    }
    const manifest = [
      { Config: `${id}.json`, RepoTags: ['hello:nix'], Layers: names.map((name) => `${name.slice(2)}/layer.tar`) },
    ];
    files.push(
      { name: `./${id}.json`, content: config, mtimeSec: 1 },
      { name: './manifest.json', content: JSON.stringify(manifest), mtimeSec: 1 },
      { name: './repositories', content: JSON.stringify({ hello: { nix: digestOf(customisation) } }), mtimeSec: 1 },
    );
    const { images } = await build('nix-image.tar', makeTar(files));
    assert.deepEqual(
      images.map((image) => [image.id, image.references]),
      [[`sha256:${id}`, ['hello:nix']]],
    );
  });

  it('takes what skopeo writes as docker-archive without a name, and gives it one', async () => {
    // containers/image, docker/internal/tarfile/writer.go: layers as `<sha256>.tar`, legacy folders with links to them.
    const files: MadeEntry[] = layers.map((content) => ({ name: `${digestOf(content)}.tar`, content, mode: 0o444 }));
    const manifest = [{ Config: `${id}.json`, RepoTags: null, Layers: files.map(({ name }) => name) }];
    for (const content of layers)
      files.push({
        name: `legacy-${digestOf(content).slice(0, 8)}/layer.tar`,
        type: '2',
        linkName: `../${digestOf(content)}.tar`,
      });
    files.push({ name: `${id}.json`, content: config }, { name: 'manifest.json', content: JSON.stringify(manifest) });
    const { images } = await build('skopeo.tar', makeTar(files), '--tag', 'ghcr.io/team/hello:1');
    assert.deepEqual(
      images.map((image) => image.references),
      [['ghcr.io/team/hello:1']],
    );
  });

  it('makes filesystems with features that Linux 5.4 mounts, erofs without blobs', async () => {
    await ensureDebianPackages(['erofs-utils'], { install: true });
    await build('features.tar', savedArchive([{ tags: ['features:1'], layers }]));
    const { stdout: ext4 } = await execa('dumpe2fs', ['-h', path.join(tree.path, 'features.tar.disk')]);
    const features = /^Filesystem features:\s+(.*)$/m.exec(ext4)?.[1]?.split(/\s+/) ?? [];
    // Linux 5.4, fs/ext4/ext4.h: EXT4_FEATURE_INCOMPAT_SUPP and RO_COMPAT_SUPP have these and more.
    const known = [
      'ext_attr',
      'dir_index',
      'filetype',
      'extent',
      '64bit',
      'flex_bg',
      'sparse_super',
      'sparse_super2',
      'large_file',
      'huge_file',
      'dir_nlink',
      'extra_isize',
      'metadata_csum',
      'large_dir',
      'ea_inode',
      'uninit_bg',
    ];
    assert.deepEqual(
      features.filter((feature) => !known.includes(feature)),
      [],
      ext4,
    );
    assert.ok(features.includes('extent'), ext4);
    await build(
      'features-erofs.tar',
      savedArchive([{ tags: ['features:1'], layers }]),
      '--filesystem',
      'erofs',
      '--blobs',
      'none',
    );
    const { stdout: erofs } = await execa('dump.erofs', ['-s', path.join(tree.path, 'features-erofs.tar.disk')]);
    // Linux 5.4 refuses an erofs with any incompatible feature but zero padding of compressed data
    // (EROFS_ALL_FEATURE_INCOMPAT).
    const found =
      /^Filesystem features:\s*(.*)$/m
        .exec(erofs)?.[1]
        ?.trim()
        .split(/\s+/)
        .filter((word) => word !== '') ?? [];
    assert.deepEqual(
      found.filter((feature) => !['mtime', 'sb_csum', 'xattr_filter', '0padding'].includes(feature)),
      [],
      erofs,
    );
  });
});
