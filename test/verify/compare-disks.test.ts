import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { DiskDifference } from '../../agent/verify/compare-disks.ts';
import { agent, agentCommand, type AgentResult } from '../support/agent.ts';
import { imageConfig, savedArchive, type ArchiveImage } from '../builder/archive/archives.ts';
import { makeTar } from '../builder/tar/make-tar.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeKey } from '../support/signing-key.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';

const layer = (name: string): Buffer => makeTar([{ name, content: name.repeat(5000) }]);
const [base, one, two] = [layer('base'), layer('one'), layer('two')];
const old: readonly ArchiveImage[] = [
  { tags: ['app:1', 'app:latest'], layers: [base, one] },
  { tags: ['gone:1'], layers: [base] },
];
const fresh: readonly ArchiveImage[] = [
  { tags: ['app:1'], layers: [base, one] },
  { tags: ['app:2', 'app:latest'], layers: [base, two] },
];
const idOf = ({ layers }: ArchiveImage): string => `sha256:${imageConfig(layers).id}`;

describe('diff', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const diff = (a: string, b: string, ...args: readonly string[]): Promise<AgentResult> =>
    agent(['diff', at(a), at(b), ...args]);
  const build = async (archive: string, disk: string, ...args: readonly string[]): Promise<void> => {
    const { exitCode, all } = await agent(['build', '--quiet', at(archive), '-o', at(disk), ...args]);
    assert.equal(exitCode, 0, all);
  };
  before(async () => {
    await ensureDebianPackages(['qemu-utils'], { install: true });
    tree = await tempTree('dpl-diff');
    writeFileSync(at('old.tar'), savedArchive(old));
    writeFileSync(at('fresh.tar'), savedArchive(fresh));
    await build('old.tar', 'old.qcow2');
    await build('fresh.tar', 'fresh.raw');
  });
  after(cleanUpAll);

  it('tells images, tags, layers and bytes that differ, and has exit status 1', async () => {
    const { exitCode, stdout, stderr } = await diff('old.qcow2', 'fresh.raw', '--json');
    assert.deepEqual([exitCode, stderr], [1, '']);
    const found = JSON.parse(stdout) as DiskDifference;
    const [app1, gone, app2] = [old[0], old[1], fresh[1]].map((image) => idOf(image ?? assert.fail()));
    assert.equal(found.same, false);
    assert.deepEqual(found.images, {
      removed: [{ id: gone, references: ['gone:1'] }],
      added: [{ id: app2, references: ['app:2', 'app:latest'] }],
      changed: [],
    });
    assert.deepEqual(found.tags, {
      removed: [{ reference: 'gone:1', id: gone }],
      added: [{ reference: 'app:2', id: app2 }],
      moved: [{ reference: 'app:latest', a: app1, b: app2 }],
    });
    assert.deepEqual(found.common, { images: 1, layers: 2 });
    assert.deepEqual(found.bytes, { common: 4 * 5000 + 3 * 5000, removed: 0, added: 3 * 5000 });
    assert.deepEqual([found.layers.removed.length, found.layers.added.length], [0, 1]);
  });

  it('tells the same to people, a line each', async () => {
    const { exitCode, stdout } = await diff('old.qcow2', 'fresh.raw');
    assert.equal(exitCode, 1);
    assert.match(
      stdout,
      /^--- \S+old\.qcow2: label dpl-\w+, ext4, .*\n\+\+\+ \S+fresh\.raw: .*\n- image sha256:\w+ gone:1\n\+ image sha256:\w+ app:2 app:latest\n- tag gone:1 sha256:\w+\n\+ tag app:2 sha256:\w+\n! tag app:latest sha256:\w+ -> sha256:\w+\n\+ layer sha256:\w+ 15 kB\n1 image and 2 layers \(35 kB\) on both; 0 layers \(0 kB\) gone, 1 layer \(15 kB\) new$/,
    );
  });

  it('finds disks the same whatever they are called and stored in, with exit status 0', async () => {
    await build('old.tar', 'again.raw', '--label', 'dpl-other', '--filesystem', 'ext4');
    const { exitCode, stdout } = await diff('old.qcow2', 'again.raw');
    assert.deepEqual([exitCode, stdout], [0, 'the same: 2 images and 2 layers (35 kB) on both']);
  });

  it('finds manifests that differ where images, tags and layers do not', async () => {
    await build('old.tar', 'first.qcow2', '--priority', '3');
    const { exitCode, stdout } = await diff('old.qcow2', 'first.qcow2');
    assert.equal(exitCode, 1);
    assert.match(stdout, /\nimages, tags and layers are the same, and the manifests are not\n/);
  });

  it('tells blobs and manifests of containerd', async () => {
    await build('old.tar', 'blobs.qcow2', '--blobs', 'tar');
    const { exitCode, stdout } = await diff('old.qcow2', 'blobs.qcow2');
    assert.equal(exitCode, 1);
    assert.match(stdout, /\n! blobs none -> 2 \(\d+ kB\)\n/);
  });

  it('tells who has signed them, since a guest may trust only one', async () => {
    await build('old.tar', 'signed.qcow2', '--sign', makeKey(at('key')));
    const { exitCode, stdout } = await diff('old.qcow2', 'signed.qcow2');
    assert.equal(exitCode, 1);
    assert.match(stdout, /\n! signed by nobody -> SHA256:\S+\n/);
    const json = await diff('signed.qcow2', 'signed.qcow2', '--json');
    const found = JSON.parse(json.stdout) as DiskDifference;
    assert.deepEqual([json.exitCode, found.same, found.signedBy.a === found.signedBy.b], [0, true, true]);
  });

  it('does not find disks the same where one has not what its manifest says, with exit status 2', async () => {
    await build('old.tar', 'whole.raw');
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    const bytes = readFileSync(at('whole.raw'));
    for (const [name, was, is] of [
      ['tags', '"app:latest"', '"app:newest"'],
      ['config', '"architecture":"amd64"', '"architecture":"amd65"'],
    ] as const) {
      const changed = Buffer.from(bytes.toString('latin1').replaceAll(was, is), 'latin1');
      // The manifest has the same names in it: it stays.
      const manifest = await execa('debugfs', ['-R', 'cat docker-preloader.json', at('whole.raw')], {
        encoding: 'buffer',
        stripFinalNewline: false,
      });
      const start = bytes.indexOf(manifest.stdout.subarray(0, 2000));
      assert.ok(start > 0);
      Buffer.from(manifest.stdout).copy(changed, start);
      assert.ok(!changed.equals(bytes));
      writeFileSync(at(`${name}.raw`), changed);
      const { exitCode, stdout, stderr } = await diff('whole.raw', `${name}.raw`);
      assert.equal(exitCode, 2);
      assert.match(stderr, /^docker-preloader: \S+\.raw: /);
      if (name === 'tags') {
        assert.match(stderr, /image\/overlay2\/repositories\.json: expected content with digest/);
        assert.match(stdout, /\n- tag app:latest sha256:\w+\n\+ tag app:newest sha256:\w+\n/);
      }
      assert.doesNotMatch(stdout, /the same: /);
    }
  });

  it('tells its result by the exit status, too, where nobody reads the output to its end', async () => {
    const [command, ...first] = agentCommand();
    const ends = async (output: string, ...disks: readonly string[]): Promise<number | undefined> =>
      (
        await execa(
          'bash',
          ['-c', `"$@" ${output}; exit "\${PIPESTATUS[0]}"`, 'bash', command, ...first, 'diff', ...disks],
          {
            reject: false,
          },
        )
      ).exitCode;
    const [one, other] = [at('old.qcow2'), at('fresh.raw')];
    const gone = '| { exec 0<&-; sleep 3; }';
    assert.deepEqual([await ends(gone, one, other), await ends(gone, one, one)], [1, 0]);
    assert.deepEqual([await ends('> /dev/full', one, other), await ends('> /dev/full', one, one)], [2, 2]);
  });

  it('has exit status 2 where one is no disk, or the usage is wrong', async () => {
    writeFileSync(at('empty'), '');
    mkdirSync(at('folder'));
    for (const other of ['empty', 'none', 'folder', 'old.tar']) {
      const { exitCode, stdout, stderr } = await diff('old.qcow2', other);
      assert.deepEqual([exitCode, stdout], [2, '']);
      assert.match(stderr, /^docker-preloader: [^\n]+\n?$/);
    }
    assert.equal((await agent(['diff', at('old.qcow2')])).exitCode, 2);
  });
});
