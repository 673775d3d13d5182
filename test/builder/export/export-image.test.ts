import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { execa } from 'execa';
import { agent, type AgentResult } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { startDockerd } from '../../support/dockerd.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { imageConfig, ociLayout, savedArchive, tarOf, type ArchiveImage } from '../archive/archives.ts';
import { takenCorners } from '../layer/corner-layers.ts';
import { makeTar } from '../tar/make-tar.ts';

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const base = makeTar([{ name: 'base', content: 'base\n'.repeat(5000) }]);
const top = makeTar([{ name: 'top', content: 'top' }, { name: '.wh.base' }]);
const images: readonly ArchiveImage[] = [
  { tags: ['app:1', 'registry.example:5000/app:2'], layers: [base, top] },
  { tags: ['db:1'], layers: [base] },
];

interface Told {
  readonly id: string;
  readonly references: readonly string[];
  readonly digest: string;
  readonly lost: string | null;
  readonly lostLayers: number;
}

describe('export', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const write = (name: string, content: Uint8Array): void => writeFileSync(at(name), content);
  const build = async (archive: string, disk: string, ...args: readonly string[]): Promise<void> => {
    const { exitCode, all } = await agent(['build', '--quiet', at(archive), '-o', at(disk), ...args]);
    assert.equal(exitCode, 0, all);
  };
  const exported = (disk: string, image: string, ...args: readonly string[]): Promise<AgentResult> =>
    agent(['export', at(disk), image, '-o', at('out/image.tar'), '--json', '--quiet', ...args]);
  /** The files of the archive that was made. */
  const files = async (): Promise<Map<string, Buffer>> =>
    new Map(
      (await unpackTar(readFileSync(at('out/image.tar')))).flatMap(({ header, data }) =>
        data === undefined ? [] : [[header.name, Buffer.from(data)] as const],
      ),
    );

  before(async () => {
    await ensureDebianPackages(['skopeo', 'golang-github-containers-common', 'mount'], { install: true });
    tree = await tempTree('dpl-export');
    mkdirSync(at('out'));
    write('saved.tar', savedArchive(images));
    write('gzip.tar', tarOf(ociLayout(images, 'gzip')));
    write('zstd.tar', tarOf(ociLayout(images, 'zstd')));
    write('plain.tar', tarOf(ociLayout(images, 'none')));
    // An index above the manifest, as a registry has it of several platforms.
    write('index.tar', tarOf(underIndex(ociLayout([images[1] ?? assert.fail()], 'gzip'))));
  });
  after(cleanUpAll);

  for (const [archive, filesystem, blobs] of [
    ['gzip', 'ext4', 'keep'],
    ['gzip', 'erofs', 'keep'],
    ['zstd', 'ext4', 'keep'],
    ['plain', 'ext4', 'keep'],
    ['plain', 'erofs', 'keep'],
    ['plain', 'ext4', 'none'],
    ['plain', 'ext4', 'tar'],
    ['index', 'erofs', 'keep'],
  ] as const)
    it(`gives back each digest of an archive (${archive}, ${filesystem}, --blobs ${blobs})`, async () => {
      await build(`${archive}.tar`, 'disk.qcow2', '--filesystem', filesystem, '--blobs', blobs);
      const went = new Map(
        (await unpackTar(readFileSync(at(`${archive}.tar`)))).map(({ header, data }) => [
          header.name,
          Buffer.from(data ?? []),
        ]),
      );
      const names = archive === 'index' ? ['db:1'] : ['app:1', 'registry.example:5000/app:2', 'docker.io/library/db:1'];
      for (const name of names) {
        const { exitCode, stdout, all } = await exported('disk.qcow2', name);
        assert.equal(exitCode, 0, all);
        const { digest, lost, references } = JSON.parse(stdout) as Told;
        assert.deepEqual([lost, references], [null, [name.replace('docker.io/library/', '')]]);
        const came = await files();
        const index = JSON.parse(came.get('index.json')?.toString() ?? '') as { manifests: { digest: string }[] };
        assert.deepEqual(
          index.manifests.map((one) => one.digest),
          [digest],
        );
        const blobs = [...came].filter(([file]) => file.startsWith('blobs/'));
        assert.ok(blobs.length >= 3);
        for (const [file, content] of blobs) {
          assert.ok(went.get(file)?.equals(content), `${file} went in as it comes out`);
          assert.equal(`blobs/sha256/${sha256(content).slice(7)}`, file);
        }
        const { stdout: raw } = await execa('skopeo', ['inspect', '--raw', `oci-archive:${at('out/image.tar')}`]);
        assert.equal(sha256(Buffer.from(raw)), digest);
      }
    });

  it('says which manifest is lost where compressed layers were not kept, and gives the same image', async () => {
    await build('gzip.tar', 'none.qcow2', '--blobs', 'none');
    const { exitCode, stdout, stderr } = await exported('none.qcow2', 'app:1');
    const { id, digest, lost, lostLayers } = JSON.parse(stdout) as Told;
    const went = JSON.parse(ociLayout(images, 'gzip').get('index.json')?.toString() ?? '') as {
      manifests: { digest: string }[];
    };
    assert.deepEqual(
      [exitCode, lost, lostLayers, id],
      [3, went.manifests[0]?.digest, 2, `sha256:${imageConfig([base, top]).id}`],
    );
    assert.match(
      stderr,
      /^docker-preloader: \S+: the manifest sha256:\w{64} cannot be given back: 2 of 2 layers came compressed/,
    );
    assert.notEqual(digest, lost);
    const came = await files();
    for (const tar of [base, top]) assert.ok(came.get(`blobs/sha256/${sha256(tar).slice(7)}`)?.equals(tar));
    assert.ok(came.has(`blobs/sha256/${id.slice(7)}`));
  });

  it('gives the same bytes each time, to standard output as well, and of each disk of the same image', async () => {
    await build('saved.tar', 'ext4.qcow2');
    await build('saved.tar', 'erofs.raw', '--filesystem', 'erofs');
    assert.equal((await exported('ext4.qcow2', 'app:1')).exitCode, 0);
    const first = readFileSync(at('out/image.tar'));
    assert.equal((await exported('erofs.raw', 'app:1')).exitCode, 0);
    assert.ok(readFileSync(at('out/image.tar')).equals(first));
    const { stdout, exitCode } = await execa('sh', [
      '-c',
      '"$@" | sha256sum',
      'sh',
      process.execPath,
      ...process.execArgv,
      path.resolve(import.meta.dirname, '../../../agent/main.ts'),
      'export',
      at('ext4.qcow2'),
      'app:1',
      '--quiet',
      '-o',
      '-',
    ]);
    assert.deepEqual([exitCode, `sha256:${stdout.split(' ')[0]}`], [0, sha256(first)]);
  });

  it('finds an image by its ID, by twelve digits of it, and by the digest of its manifest', async () => {
    await build('gzip.tar', 'disk.qcow2');
    const { id, digest } = JSON.parse((await exported('disk.qcow2', 'db:1')).stdout) as Told;
    const byDigest = [`db@${digest}`, `db:1@${digest}`, `docker.io/library/db@${digest}`];
    for (const name of [id, id.slice(7), id.slice(7, 19), digest, ...byDigest]) {
      const { exitCode, stdout, all } = await exported('disk.qcow2', name);
      assert.equal(exitCode, 0, all);
      assert.equal((JSON.parse(stdout) as Told).digest, digest);
    }
    for (const name of ['db:2', 'nothing', '0'.repeat(12), `app@${digest}`]) {
      const { exitCode, stderr } = await exported('disk.qcow2', name);
      assert.match(stderr, /disk.qcow2: expected the image '.*', found app:1, db:1, registry.example:5000\/app:2/);
      assert.equal(exitCode, 1);
    }
  });

  it('finds an image whose name looks like an ID', async () => {
    write('hex.tar', savedArchive([{ tags: ['0123456789ab:latest'], layers: [base] }]));
    await build('hex.tar', 'hex.qcow2');
    const { exitCode, stdout, all } = await exported('hex.qcow2', '0123456789ab');
    assert.equal(exitCode, 0, all);
    assert.deepEqual((JSON.parse(stdout) as Told).references, ['0123456789ab:latest']);
  });

  it('takes layers that a disk leaves out from the one that has them', async () => {
    write('db.tar', tarOf(ociLayout([images[1] ?? assert.fail()], 'gzip')));
    await build('db.tar', 'base.qcow2', '--label', 'dpl-base');
    await build('gzip.tar', 'top.qcow2', '--base', at('base.qcow2'));
    const alone = await exported('top.qcow2', 'app:1');
    assert.equal(alone.exitCode, 1);
    assert.match(
      alone.stderr,
      /top\.qcow2: expected layer sha256:\w+, found it left out: --base names the disk dpl-base, which has it/,
    );
    const { exitCode, stdout, all } = await exported('top.qcow2', 'app:1', '--base', at('base.qcow2'));
    assert.equal(exitCode, 0, all);
    assert.equal((JSON.parse(stdout) as Told).lost, null);
    assert.ok((await files()).get(`blobs/sha256/${sha256(gzipSync(base)).slice(7)}`)?.equals(gzipSync(base)));
  });

  it('puts each corner of a layer together as it was', async () => {
    const layers = Object.values(takenCorners).map((entries) => makeTar(entries));
    assert.ok(layers.length > 50 && layers.length <= 125);
    write('corners.tar', tarOf(ociLayout([{ tags: ['corners:1'], layers }], 'none')));
    await build('corners.tar', 'corners.qcow2');
    const { exitCode, all } = await exported('corners.qcow2', 'corners:1');
    assert.equal(exitCode, 0, all);
    const came = await files();
    for (const tar of layers) assert.ok(came.get(`blobs/sha256/${sha256(tar).slice(7)}`)?.equals(tar));
  });

  it('is loaded by dockerd, as the image that went in', async () => {
    await build('gzip.tar', 'disk.qcow2');
    const { stdout } = await exported('disk.qcow2', 'app:1');
    mkdirSync(at('docker'));
    const dockerd = await startDockerd({ version: '26.1', dataRoot: at('docker') });
    await dockerd.cli(['load', '--input', at('out/image.tar')]);
    const { id } = JSON.parse(stdout) as Told;
    assert.equal((await dockerd.cli(['image', 'inspect', '--format', '{{.Id}}', 'app:1'])).trim(), id);
    // A disk that dockerd filled has nothing but its layers: no manifest, no blobs.
    await dockerd.stop();
    const { exitCode, stdout: again, all } = await exported('docker', 'app:1');
    assert.equal(exitCode, 0, all);
    assert.deepEqual([(JSON.parse(again) as Told).id, (JSON.parse(again) as Told).lost], [id, null]);
    for (const tar of [base, top]) assert.ok((await files()).get(`blobs/sha256/${sha256(tar).slice(7)}`)?.equals(tar));
  });

  it('leaves nothing where the disk is damaged, cut off, no disk or has no room for the image', async () => {
    await build('plain.tar', 'whole.raw');
    copyFileSync(at('whole.raw'), at('damaged.raw'));
    const whole = readFileSync(at('whole.raw'));
    const fd = openSync(at('damaged.raw'), 'r+');
    writeSync(fd, 'BASE', whole.indexOf('base\nbase\n') + 500);
    write('cut.raw', whole.subarray(0, whole.length / 2));
    write('empty.raw', Buffer.alloc(0));
    for (const name of readdirSync(at('out'))) await execa('rm', [at(`out/${name}`)]);
    for (const [disk, says] of [
      ['damaged.raw', /damaged\.raw: layer sha256:\w+: expected content with digest sha256:\w+, found sha256:/],
      ['cut.raw', /cut\.raw: /],
      ['empty.raw', /empty\.raw: expected a raw image or qcow2/],
      ['gone.raw', /gone\.raw: expected a disk, found no such file/],
    ] as const) {
      const { exitCode, stderr, stdout } = await exported(disk, 'db:1');
      assert.match(stderr, says);
      assert.match(stderr, /^docker-preloader: [^\n]+\n?$/);
      assert.deepEqual([exitCode, stdout, readdirSync(at('out'))], [1, '', []]);
    }
    mkdirSync(at('small'));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', at('small')]);
    const { exitCode, stderr } = await agent([
      'export',
      at('whole.raw'),
      'db:1',
      '--quiet',
      '-o',
      at('small/image.tar'),
    ]);
    assert.match(stderr, /small\/image\.tar: expected room for the image, found the filesystem full/);
    assert.deepEqual([exitCode, readdirSync(at('small'))], [1, []]);
  });
});

/** Names each image by an index of one, as registries have it, and not by its manifest. */
function underIndex(layout: Map<string, Buffer>): Map<string, Buffer> {
  const { manifests } = JSON.parse(layout.get('index.json')?.toString() ?? '') as {
    manifests: { annotations: unknown; digest: string; mediaType: string; size: number }[];
  };
  const outer = manifests.map(({ annotations, ...descriptor }) => {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        manifests: [
          { ...descriptor, platform: { os: 'linux', architecture: 'amd64' } },
          { ...descriptor, digest: `sha256:${'0'.repeat(64)}`, platform: { os: 'linux', architecture: 's390x' } },
        ],
      }),
    );
    layout.set(`blobs/sha256/${sha256(index).slice(7)}`, index);
    return { mediaType, digest: sha256(index), size: index.length, annotations };
  });
  return layout.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: outer })));
}
