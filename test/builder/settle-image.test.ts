import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { settleImage } from '../../agent/builder/settle-image.ts';
import { agent, agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { savedArchive, type ArchiveImage } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

const image: ArchiveImage = {
  tags: ['one:1'],
  layers: [makeTar([{ name: 'one', content: 'one\n'.repeat(100_000) }])],
};

describe('formats of qemu-img', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const build = async (...args: readonly string[]): Promise<void> => {
    const { exitCode, all } = await agent(['build', '--quiet', at('one.tar'), ...args]);
    assert.equal(exitCode, 0, all);
  };
  before(async () => {
    await ensureDebianPackages(['qemu-utils'], { install: true });
    tree = await tempTree('dpl-formats');
    writeFileSync(at('one.tar'), savedArchive([image]));
    await build('-o', at('one.qcow2'));
  });
  after(cleanUpAll);

  for (const format of ['vmdk', 'vdi', 'vhdx'] as const) {
    it(`${format}: the disk is in it, by the name's ending or by --format, in the same bytes each time`, async () => {
      await build('-o', at(`one.${format}`));
      const first = readFileSync(at(`one.${format}`));
      await build('-o', at(`one.${format}`), '--format', format);
      assert.ok(readFileSync(at(`one.${format}`)).equals(first));
      const { stdout } = await execa('qemu-img', ['info', '--output', 'json', at(`one.${format}`)]);
      assert.equal((JSON.parse(stdout) as { format: string }).format, format);
      await execa('qemu-img', ['compare', at(`one.${format}`), at('one.qcow2')]);
      const { stdout: checked } = await execa('qemu-img', ['check', '-f', format, at(`one.${format}`)]);
      assert.match(checked, /No errors were found/);
    });

    it(`${format}: what is drawn at random is settled by the digest alone`, async () => {
      const drawn = async (name: string): Promise<Buffer> => {
        // A vmdk has its name in it.
        await execa('qemu-img', ['convert', '-O', format, at('one.qcow2'), at(`drawn.${format}`)]);
        copyFileSync(at(`drawn.${format}`), at(name));
        return readFileSync(at(name));
      };
      assert.ok(!(await drawn('a')).equals(await drawn('b')), 'it is drawn at random');
      const settled = (name: string, digit: string): Buffer => {
        settleImage(at(name), format, `sha256:${digit.repeat(64)}`);
        return readFileSync(at(name));
      };
      const one = settled('a', '1');
      assert.ok(settled('b', '1').equals(one));
      assert.ok(!settled('b', '2').equals(one));
      await execa('qemu-img', ['compare', '-f', format, at('b'), at('one.qcow2')]);
    });

    it(`${format}: another layout than is known is refused`, () => {
      writeFileSync(at('other'), Buffer.alloc(2 ** 20));
      assert.throws(() => settleImage(at('other'), format, `sha256:${'1'.repeat(64)}`), {
        message: `expected a ${format} as qemu-img has made it so far, found another`,
      });
    });
  }

  const withoutPrograms = async (...args: readonly string[]): Promise<{ exitCode?: number; stderr: string }> => {
    const main = path.resolve(import.meta.dirname, '../../agent/main.ts');
    return execa(process.execPath, [...process.execArgv, main, ...args], { reject: false, env: { PATH: '/nowhere' } });
  };
  it('a missing qemu-img is told before anything is done, with its package', async () => {
    const { exitCode, stderr } = await withoutPrograms('build', at('one.tar'), '-o', at('no.vdi'));
    assert.equal(exitCode, 1);
    assert.match(stderr, /expected the program 'qemu-img', found none: install the package qemu-utils/);
    assert.ok(!readdirSync(tree.path).includes('no.vdi'));
  });

  it('a missing skopeo, too', async () => {
    for (const args of [
      ['build', at('one.tar'), '--push', 'docker://127.0.0.1:1/x'],
      ['pull', 'docker://127.0.0.1:1/x', '-o', at('no.qcow2')],
    ]) {
      const { exitCode, stderr } = await withoutPrograms(...args);
      assert.equal(exitCode, 1);
      assert.match(stderr, /expected the program 'skopeo', found none: install the package skopeo/);
    }
  });

  it('is made in a folder whose name looks like a protocol of qemu-img', async () => {
    mkdirSync(at('nbd:x'));
    const [command, ...first] = agentCommand();
    for (const args of [
      ['-o', 'nbd:x/one.vdi'],
      ['-o', 'nbd:x/one.qcow2', '--compress'],
    ])
      await execa(command, [...first, 'build', '--quiet', at('one.tar'), ...args], { cwd: tree.path });
    assert.deepEqual(readdirSync(at('nbd:x')), ['one.qcow2', 'one.vdi']);
  });

  for (const [args, says] of [
    [['-o', 'x.vmdk', '--compress'], /--compress: expected the format qcow2, found vmdk, by the ending of x\.vmdk/],
    [['-o', 'x.vdi', '--engine', 'docker'], /--format: expected the built-in engine, found another/],
    [
      ['-o', 'x.qcow2', '--push', 'docker://x/y'],
      /--push: expected --format containerdisk with -o x\.qcow2, found qcow2/,
    ],
    [['-o', 'x', '--format', 'vhd'], /Allowed choices are qcow2, raw, containerdisk, vmdk, vdi, vhdx/],
    [
      ['-o', 'x', '--authfile', '/no/such'],
      /--authfile: \/no\/such: expected a file of skopeo login, found no such file/,
    ],
  ] as const)
    it(`refuses ${args.join(' ')}`, async () => {
      const { exitCode, stderr } = await agent(['build', at('one.tar'), ...args]);
      assert.match(stderr, says);
      assert.equal(exitCode, 2);
    });
});
