import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import type { Inspection } from '../../../agent/verify/inspect-disk.ts';
import { agent, agentCommand } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { digestOf, imageConfig, ociLayout, savedArchive, tarOf, type ArchiveImage } from './archives.ts';
import { makeTar } from '../tar/make-tar.ts';

const one: ArchiveImage = { tags: ['one:1'], layers: [makeTar([{ name: 'one', content: 'one' }])] };
const two: ArchiveImage = { tags: ['two:1'], layers: [makeTar([{ name: 'two', content: 'two'.repeat(100_000) }])] };

describe('build and archives of all kinds', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const write = (name: string, content: Uint8Array | string): string => {
    mkdirSync(path.dirname(at(name)), { recursive: true });
    writeFileSync(at(name), content);
    return at(name);
  };
  const writeFolder = (name: string, files: ReadonlyMap<string, Uint8Array | string>): string => {
    for (const [file, content] of files) write(`${name}/${file}`, content);
    return at(name);
  };
  before(async () => {
    await ensureDebianPackages(['bzip2', 'qemu-utils'], { install: true });
    tree = await tempTree('dpl-archive');
    write('one.tar', savedArchive([one]));
  });
  after(cleanUpAll);

  const refused = async (expected: RegExp, exitStatus: number, ...args: readonly string[]): Promise<void> => {
    const { exitCode, stderr } = await agent(['build', '--quiet', '-o', at('refused.qcow2'), ...args]);
    assert.match(stderr, expected);
    assert.match(stderr, /^[^\n]+$/);
    assert.equal(exitCode, exitStatus, stderr);
    assert.deepEqual(
      readdirSync(tree.path).filter((name) => name.includes('refused')),
      [],
    );
  };
  /** Names and layers of what a build puts on a disk, and what it says. */
  const built = async (
    ...args: readonly string[]
  ): Promise<{ readonly names: string[]; readonly layers: string[]; readonly stderr: string }> => {
    const { exitCode, all, stderr } = await agent(['build', '--quiet', '-o', at('built.raw'), ...args]);
    assert.equal(exitCode, 0, all);
    const { stdout } = await agent(['inspect', '--deep', '--json', at('built.raw')]);
    const { images, layers, problems } = JSON.parse(stdout) as Inspection;
    assert.deepEqual(problems, []);
    const names = images.flatMap(({ references }) =>
      references.length === 0 ? [''] : references.filter((reference) => !reference.includes('@')),
    );
    return { names: names.sort(), layers: layers.map(({ diffId }) => diffId.slice('sha256:'.length)).sort(), stderr };
  };

  it('says what a file is that is no archive', async () => {
    await refused(
      /text: expected a tar of images, plain or compressed with gzip, zstd or xz; found text$/,
      1,
      write('text', 'Just some text\n'.repeat(100)),
    );
    await refused(/json: expected a tar of images, .*; found text$/, 1, write('json', '{}'));
    const { stdout: bzip2 } = await execa('bzip2', ['--stdout', at('one.tar')], { encoding: 'buffer' });
    await refused(
      /one\.tar\.bz2: expected a tar of images, .*; found bzip2: unpack it with bunzip2$/,
      1,
      write('one.tar.bz2', bzip2),
    );
    await refused(
      /twice\.gz: expected a tar of images, .*; found gzip in a compressed file: unpack it once$/,
      1,
      write('twice.gz', gzipSync(gzipSync(savedArchive([one])))),
    );
    await refused(
      /noise: expected a tar of images, .*; found something else$/,
      1,
      write('noise', Buffer.alloc(2000, 0xee)),
    );
    const damaged = savedArchive([one]);
    damaged.write('x', 0);
    await refused(
      /damaged\.tar: expected a tar of images, .*: expected a tar header with a right checksum/,
      1,
      write('damaged.tar', damaged),
    );
    await refused(/nothing: expected an archive, found nothing$/, 1, write('nothing', ''));
    const layer = savedArchive([{ tags: ['bz:1'], layers: [Buffer.from(bzip2)] }]);
    await refused(
      /bz\.tar: entry '0+\/layer\.tar': expected a layer as a tar, .*; found bzip2/,
      1,
      write('bz.tar', layer),
    );
    await refused(
      /exported\.tar: expected the entry 'manifest\.json' of docker save, .*, found a container's files: docker commit/,
      1,
      write('exported.tar', makeTar([{ name: '.dockerenv' }, { name: 'etc/passwd' }])),
    );
  });

  it('says that a disk, a stream or a bomb is no archive before it has read it, and reads nothing behind the end of one', async (t) => {
    const zeros =
      /: expected a tar of images, .*; found zeros: a tar without an entry, or a raw disk, for docker-preloader inspect$/;
    truncateSync(write('disk.raw', ''), 8 * 2 ** 40);
    await refused(zeros, 1, at('disk.raw'));
    await refused(zeros, 1, '/dev/zero');
    await refused(zeros, 1, write('bomb.gz', gzipSync(Buffer.alloc(64 * 2 ** 20))));
    const followed = write('followed.tar', savedArchive([one]));
    truncateSync(followed, 8 * 2 ** 40);
    t.after(() => rmSync(followed));
    assert.deepEqual((await built(followed)).names, ['one:1']);
  });

  it('reads no layer of a layout whose size is not what its manifest says', async () => {
    const files = ociLayout([one], 'gzip');
    const manifest = JSON.parse(
      [...files.values()].find((content) => content.includes('"layers":'))?.toString() ?? '',
    ) as { readonly layers: readonly { readonly digest: string; readonly size: number }[] };
    const [layer = assert.fail()] = manifest.layers;
    const folder = writeFolder('sized', files);
    truncateSync(path.join(folder, 'blobs/sha256', layer.digest.slice('sha256:'.length)), 8 * 2 ** 40);
    await refused(
      new RegExp(
        `sized: entry 'blobs/${layer.digest.replace(':', '/')}': expected ${layer.size} bytes, found ${8 * 2 ** 40}$`,
      ),
      1,
      folder,
    );
  });

  it('says what a folder is that is no archive, without looking through it', async () => {
    const neither =
      /expected the entry 'manifest\.json' of docker save, or 'index\.json' of an OCI layout, found neither$/;
    mkdirSync(at('empty'));
    await refused(neither, 1, at('empty'));
    writeFolder('other', new Map([['file', 'text']]));
    symlinkSync('/nowhere', at('other/dangling'));
    await refused(neither, 1, at('other'));
    await refused(neither, 1, '/');
    const { config, id } = imageConfig(one.layers);
    const manifest = { schemaVersion: 2, config: { digest: `sha256:${id}`, size: config.length }, layers: [] };
    const files = new Map<string, string | Buffer>([
      ['version', 'Directory Transport Version: 1.1\n'],
      ['manifest.json', JSON.stringify(manifest)],
      [id, config],
    ]);
    await refused(
      /skopeo: .*found only a registry's manifest, as skopeo's dir: writes it: copy the image, with skopeo copy dir:/,
      1,
      writeFolder('skopeo', files),
    );
  });

  it('follows symlinks within a folder, of files and folders, and none that leads out', async () => {
    const files = ociLayout([one], 'none');
    const blobs = `blobs/sha256`;
    const layer = one.layers.map((tar) => `${blobs}/${digestOf(tar)}`)[0] ?? '';
    // The layer as a link, and each folder on its way, too.
    const linked = writeFolder('linked', files);
    renameSync(`${linked}/${layer}`, `${linked}/kept`);
    symlinkSync('../../kept', `${linked}/${layer}`);
    renameSync(`${linked}/blobs`, `${linked}/store`);
    symlinkSync('store', `${linked}/blobs`);
    assert.deepEqual((await built(linked)).names, ['one:1']);

    const out = /expected a file in the folder, found a symlink that leads out of it: copy the folder with cp -/;
    for (const [name, link, target] of [
      ['folder', 'blobs', '../linked/store'],
      ['file', layer, '../../../linked/kept'],
      ['absolute', layer, `${linked}/kept`],
      ['parent', 'blobs/sha256', '../../linked/store/sha256'],
      ['index', 'index.json', '../linked/index.json'],
    ] as const) {
      const folder = writeFolder(name, files);
      rmSync(`${folder}/${link}`, { recursive: true });
      symlinkSync(target, `${folder}/${link}`);
      await refused(out, 1, folder);
    }
    const loop = writeFolder('loop', files);
    rmSync(`${loop}/${layer}`);
    symlinkSync(path.basename(layer), `${loop}/${layer}`);
    symlinkSync('.', `${loop}/self`);
    await refused(/loop: expected the entry 'blobs\/sha256\/\w+', found none/, 1, loop);
    // docker up to 24, unpacked: a repeated layer is a symlink to the first.
    const saved = at('unpacked');
    mkdirSync(saved);
    await execa('tar', ['--extract', '--directory', saved], {
      input: savedArchive([one, { tags: ['again:1'], layers: [...one.layers, ...two.layers] }]),
    });
    assert.deepEqual((await built(saved)).names, ['again:1', 'one:1']);
  });

  it('takes zstd that begins with a frame to be skipped, as of pzstd, of an archive and of its layers', async () => {
    const skip = Buffer.from('5e2a4d180400000001000000', 'hex');
    const compress = (tar: Uint8Array): Buffer =>
      Buffer.concat([skip, zstdCompressSync(tar.subarray(0, 1000)), skip, zstdCompressSync(tar.subarray(1000))]);
    const layers = [...one.layers, ...two.layers];
    const files = [...ociLayout([{ tags: ['both:1'], layers }], 'zstd')];
    const changed = new Map<string, string>();
    // Blobs are named anew, the layers first, then what names them.
    const renamed = new Map(
      files.map(([name, content]) => {
        const tar = layers.find((layer) => zstdCompressSync(layer).equals(content));
        let bytes = tar === undefined ? content : compress(tar);
        if (tar === undefined) {
          let text = content.toString();
          for (const [old, size] of changed) text = text.replaceAll(old, size);
          if (name.startsWith('blobs/') || name === 'index.json') bytes = Buffer.from(text);
        }
        changed.set(
          `"digest":"sha256:${digestOf(content)}","size":${content.length}`,
          `"digest":"sha256:${digestOf(bytes)}","size":${bytes.length}`,
        );
        return [name.startsWith('blobs/') ? `blobs/sha256/${digestOf(bytes)}` : name, bytes];
      }),
    );
    const whole = compress(tarOf(renamed));
    const found = await built(write('pzstd.tar.zst', whole));
    assert.deepEqual(found.layers, layers.map(digestOf).sort());
    const [command, ...first] = agentCommand();
    await execa(command, [...first, 'build', '-', '-o', at('piped.raw'), '--quiet'], { input: whole });
    assert.ok(readFileSync(at('piped.raw')).equals(readFileSync(at('built.raw'))));
  });

  it('looks into a qcow2 that is compressed with zstd, and stands a disk on it', async () => {
    await built(at('one.tar'));
    await execa('qemu-img', [
      'convert',
      '-c',
      '-O',
      'qcow2',
      '-o',
      'compression_type=zstd',
      at('built.raw'),
      at('zstd.qcow2'),
    ]);
    const looked = async (disk: string): Promise<Inspection> =>
      JSON.parse((await agent(['inspect', '--deep', '--json', disk])).stdout) as Inspection;
    assert.deepEqual(await looked(at('zstd.qcow2')), { ...(await looked(at('built.raw'))), format: 'qcow2' });
    assert.deepEqual(
      (await built(write('both.tar', savedArchive([one, two])), '--base', at('zstd.qcow2'))).layers,
      two.layers.map(digestOf),
    );
  });

  describe('of several platforms', () => {
    /** A layout with one image a platform, side by side or, with `nested`, in an index of its own. */
    const layout = (
      nested: boolean,
      name: string | undefined,
      ...platforms: readonly (Readonly<Record<string, string>> | undefined)[]
    ): Map<string, Buffer> => {
      const files = new Map<string, Buffer>();
      const manifests = platforms.map((platform, index) => {
        const some = ociLayout(
          [{ tags: [], layers: [makeTar([{ name: `of-${index}`, content: String(index) }])] }],
          'gzip',
        );
        for (const [file, content] of some) files.set(file, content);
        const [descriptor] = (JSON.parse(some.get('index.json')?.toString() ?? '') as { manifests: object[] })
          .manifests;
        return {
          ...descriptor,
          ...(platform === undefined ? {} : { platform }),
          ...(nested || name === undefined ? {} : { annotations: { 'io.containerd.image.name': name } }),
        };
      });
      const index = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests }));
      const type = 'application/vnd.oci.image.index.v1+json';
      if (nested) files.set(`blobs/sha256/${digestOf(index)}`, index);
      files.set(
        'index.json',
        nested
          ? Buffer.from(
              JSON.stringify({
                manifests: [{ mediaType: type, digest: `sha256:${digestOf(index)}`, size: index.length }],
              }),
            )
          : index,
      );
      return files;
    };
    const layerOf = (index: number): string => digestOf(makeTar([{ name: `of-${index}`, content: String(index) }]));
    const [v3, plain, arm64] = [
      { os: 'linux', architecture: 'amd64', variant: 'v3' },
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64', variant: 'v8' },
    ];

    for (const nested of [true, false]) {
      it(`takes the plain one, or what is asked for, of ${nested ? 'an index' : 'some side by side'}`, async () => {
        const archive = write(
          `v3-${String(nested)}.tar`,
          tarOf(layout(nested, 'docker.io/library/app:1', v3, plain, arm64)),
        );
        for (const [args, index] of [
          [[], 1],
          [['--platform', 'linux/amd64'], 1],
          [['--platform', 'linux/amd64/v3'], 0],
          [['--platform', 'linux/arm64'], 2],
        ] as const) {
          assert.deepEqual((await built(archive, ...args)).layers, [layerOf(index)], args.join(' '));
        }
        await refused(
          /expected an image for linux\/riscv64, found linux\/amd64\/v3, linux\/amd64, linux\/arm64\/v8: choose/,
          1,
          archive,
          '--platform',
          'linux/riscv64',
        );
        const onlyV3 = write(`only-${String(nested)}.tar`, tarOf(layout(nested, undefined, v3)));
        await refused(/expected an image for linux\/amd64, found linux\/amd64\/v3: choose/, 1, onlyV3);
      });
    }

    it('asks the configuration where the index does not say', async () => {
      // The configurations of these are for amd64.
      const archive = write('unsaid.tar', tarOf(layout(true, undefined, arm64, undefined)));
      assert.deepEqual((await built(archive)).layers, [layerOf(1)]);
      const single = write('single.tar', tarOf(layout(false, undefined, undefined)));
      assert.deepEqual((await built(single, '--platform', 'linux/amd64')).layers, [layerOf(0)]);
      await refused(
        /entry 'index\.json': expected an image for linux\/arm64, found linux\/amd64: choose/,
        1,
        single,
        '--platform',
        'linux/arm64',
      );
    });

    it('takes of a docker save archive what is asked for, or else all that a docker would load', async () => {
      await refused(
        /one\.tar: expected an image for linux\/arm64, found one:1 \(linux\/amd64\): choose with --platform/,
        1,
        at('one.tar'),
        '--platform',
        'linux/arm64',
      );
      const other = (architecture: string, os = 'linux'): Buffer => {
        const config = JSON.stringify({
          ...(JSON.parse(imageConfig(two.layers).config.toString()) as object),
          architecture,
          os,
        });
        const items = [
          { Config: 'two.json', RepoTags: ['two:1'], Layers: ['two.tar'] },
          { Config: 'one.json', RepoTags: ['one:1'], Layers: ['one.tar'] },
        ];
        return makeTar([
          { name: 'two.json', content: config },
          { name: 'one.json', content: imageConfig(one.layers).config },
          { name: 'manifest.json', content: JSON.stringify(items) },
          ...[one, two].map(({ layers: [content = ''] }, index) => ({
            name: `${index === 0 ? 'one' : 'two'}.tar`,
            content,
          })),
        ]);
      };
      const mixed = write('mixed.tar', other('arm64'));
      assert.deepEqual((await built(mixed)).names, ['one:1', 'two:1']);
      const { names, stderr } = await built(mixed, '--platform', 'linux/arm64');
      assert.deepEqual(names, ['two:1']);
      assert.match(stderr, /mixed\.tar: one:1 \(linux\/amd64\) is left out: the disk is for linux\/arm64/);
      const windows = await built(write('windows.tar', other('amd64', 'windows')));
      assert.match(windows.stderr, /windows\.tar: two:1 \(windows\/amd64\) is left out/);
    });
  });

  describe('and the names of their images', () => {
    const bare = (image: ArchiveImage, tag: string, into: Map<string, Buffer>): void => {
      const before = into.get('index.json');
      for (const [name, content] of ociLayout([{ ...image, tags: [] }], 'none')) into.set(name, content);
      const index = JSON.parse(into.get('index.json')?.toString() ?? '') as { manifests: object[] };
      const known = before === undefined ? [] : (JSON.parse(before.toString()) as { manifests: object[] }).manifests;
      const manifests = [
        ...known,
        ...index.manifests.map((descriptor) => ({
          ...descriptor,
          annotations: { 'org.opencontainers.image.ref.name': tag },
        })),
      ];
      into.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
    };

    it('come with ARCHIVE=NAME:TAG, in place of those that it has', async () => {
      assert.deepEqual((await built(`${at('one.tar')}=registry.example:5000/app:2`)).names, [
        'registry.example:5000/app:2',
      ]);
      assert.deepEqual((await built(`${at('one.tar')}=app`)).names, ['app:1'], 'a name alone keeps the tag');
      assert.deepEqual((await built(`${write('nameless.tar', savedArchive([{ ...one, tags: [] }]))}=app`)).names, [
        'app:latest',
      ]);
      const [command, ...first] = agentCommand();
      await execa(command, [...first, 'build', '-=piped:3', '-o', at('built.raw'), '--quiet'], {
        inputFile: at('one.tar'),
      });
      assert.match((await agent(['inspect', at('built.raw')])).stdout, /^piped:3 {2,}sha256:/m);
      await refused(/one\.tar=Upper:1: expected a name as in NAME:TAG, found 'Upper:1'/, 2, `${at('one.tar')}=Upper:1`);
      await refused(/one\.tar=: expected a name as in NAME:TAG, found ''/, 2, `${at('one.tar')}=`);
      await refused(/missing=a:1: expected an archive, found no such file/, 1, `${at('missing')}=a:1`);
      await refused(/expected '-', standard input, once, found it again/, 2, '-=a:1', '-=b:1');
    });

    it('are given to images of a layout whose own names are not valid for Docker', async () => {
      const files = new Map<string, Buffer>();
      bare(one, 'App:1', files);
      const single = writeFolder('upper', new Map(files));
      const { names, stderr } = await built(single);
      assert.deepEqual(names, ['']);
      assert.match(
        stderr,
        / has no name on the disk, 'App:1' is not a valid one for Docker: build \S+upper=NAME:TAG names it$/,
      );
      assert.deepEqual((await built(`${single}=app:2`)).names, ['app:2']);
      bare(two, '1.0+git', files);
      const both = writeFolder('odd-names', files);
      assert.match(
        (await built(both)).stderr,
        /'1\.0\+git' is not a valid one for Docker: build \S+odd-names:1\.0\+git=NAME:TAG/,
      );
      assert.deepEqual((await built(`${both}:App:1=app:3`, `${both}:1.0+git=db:4`)).names, ['app:3', 'db:4']);
      await refused(/expected an image with this tag or name in \S+, found App:1, 1\.0\+git/, 1, `${both}:v1=app:1`);
    });

    it('of an archive are found as they are written there', async () => {
      const archive = write('podman.tar', savedArchive([{ ...one, tags: ['docker.io/library/app:1'] }, two]));
      const renamed = await built(`${archive}:docker.io/library/app:1=x:1`);
      assert.deepEqual(renamed.names, ['x:1']);
      assert.deepEqual((await built(`${archive}:app:1=x:1`)).names, ['x:1']);
    });

    it('are told from files whose own name has a = or :', async () => {
      copyFileSync(at('one.tar'), at('x=y:1'));
      assert.deepEqual((await built(at('x=y:1'))).names, ['one:1']);
      assert.deepEqual((await built(`${at('x=y:1')}=z:2`)).names, ['z:2']);
    });

    it('are told to be missing, with what to type; a tag alone is none', async () => {
      const files = new Map<string, Buffer>();
      bare(one, 'v1', files);
      const single = writeFolder('single', new Map(files));
      const alone = await built(single);
      assert.deepEqual(alone.names, ['']);
      assert.match(
        alone.stderr,
        new RegExp(
          `^docker-preloader: sha256:\\w{64} of ${single} has no name on the disk, only the tag 'v1': ` +
            `build ${single}=NAME:TAG names it, ${single}=NAME calls it NAME:v1$`,
        ),
      );
      assert.deepEqual((await built(single, '--tag', 'app:2')).names, ['app:2']);
      bare(two, 'v2', files);
      const both = writeFolder('umoci', files);
      assert.deepEqual((await built(`${both}=app`)).names, ['app:v1', 'app:v2']);
      assert.deepEqual((await built(`${both}:v1=app:3`, `${both}:v2=db:4`)).names, ['app:3', 'db:4']);
      assert.deepEqual((await built(`${both}:v2=db`)).layers, two.layers.map(digestOf));
      await refused(
        /--tag app:1: expected one image without a name, found 2: ARCHIVE=NAME:TAG names that of one archive/,
        1,
        both,
        '--tag',
        'app:1',
      );
      await refused(
        /: expected an archive of one image, found 2 images \(v1, v2\): \S+=app keeps their tags, \S+:IMAGE=app:1 names one/,
        1,
        `${both}=app:1`,
      );
      await refused(
        /umoci:v3: expected an image with this tag or name in \S+umoci, found v1, v2/,
        1,
        `${both}:v3=app:1`,
      );
    });
  });
});
