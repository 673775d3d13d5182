import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agent, agentCommand, type AgentResult } from '../support/agent.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';

describe('attach', () => {
  let folder: string;
  const file = (name: string): string => path.join(folder, name);
  const attach = (...words: readonly string[]): Promise<AgentResult> =>
    agent([
      'attach',
      ...words.map((word) => (/\.(raw|qcow2)$/.test(word) && !word.startsWith('/') ? file(word) : word)),
    ]);
  const refused = async (status: number, says: RegExp, ...words: readonly string[]): Promise<void> => {
    const { exitCode, stdout, stderr } = await attach(...words);
    assert.deepEqual([exitCode, stdout], [status, ''], stderr);
    assert.match(stderr, /^docker-preloader: [^\n]+$/);
    assert.match(stderr, says);
  };

  before(async () => {
    folder = makeScratch();
    const layer = { name: 'a', content: 'a' };
    writeFileSync(file('a.tar'), await dockerArchive([{ tags: ['a:1'], layers: [[layer]] }]));
    writeFileSync(
      file('b.tar'),
      await dockerArchive([{ tags: ['b:1'], layers: [[layer], [{ name: 'b', content: 'b' }]] }]),
    );
    const build = async (...words: readonly string[]): Promise<void> => {
      const { exitCode, all } = await agent(['build', '--quiet', ...words]);
      assert.equal(exitCode, 0, all);
    };
    await build(file('a.tar'), '-o', file('a.qcow2'), '--label', 'dpl-a');
    await build(file('a.tar'), '-o', file('erofs.raw'), '--label', 'dpl-erofs', '--filesystem', 'erofs');
    await build(file('b.tar'), '-o', file('a-too.raw'), '--label', 'dpl-a');
    await build(file('b.tar'), '-o', file('b.raw'), '--label', 'b', '--base', file('a.qcow2'));
  });
  after(() => removeScratch(folder));

  it('reads a qcow2, a raw image and an erofs, and tells programs of them', async () => {
    const { exitCode, stdout, stderr } = await attach(
      '--for',
      'qemu',
      '--json',
      '--digest',
      'a.qcow2',
      'b.raw',
      'erofs.raw',
    );
    assert.deepEqual([exitCode, stderr], [0, '']);
    const {
      disks,
      required,
      arguments: words,
      ...rest
    } = JSON.parse(stdout) as {
      disks: readonly Readonly<Record<string, unknown>>[];
      required: Readonly<Record<string, string>>;
      arguments: readonly string[];
    };
    const digests = disks.map(({ digest }) => String(digest));
    for (const digest of digests) assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(
      disks.map(({ path: where, format, filesystem, label }) => [where, format, filesystem, label]),
      [
        [file('a.qcow2'), 'qcow2', 'ext4', 'dpl-a'],
        [file('b.raw'), 'raw', 'ext4', 'b'],
        [file('erofs.raw'), 'raw', 'erofs', 'dpl-erofs'],
      ],
    );
    const value = `dpl-a@${digests[0]},b@${digests[1]},dpl-erofs@${digests[2]}`;
    assert.deepEqual(required, {
      value,
      oemString: `io.systemd.credential:docker-preloader.required=${value}`,
      kernelWord: `docker_preloader.required=${value}`,
    });
    assert.equal(words.filter((word) => word === '-blockdev').length, 3);
    assert.deepEqual({ ...rest, text: '' }, { for: 'qemu', text: '', notes: [], problems: [] });
  });

  it('prints to a pipe what is to be pasted, and beside it what there is to know', async () => {
    const { exitCode, stdout, stderr } = await attach('--for', 'proxmox', '--required', 'a.qcow2', 'b.raw');
    assert.equal(exitCode, 0, stderr);
    const machine = 'qm() { printf "<%s>" "$@"; echo; }; VMID=100';
    assert.equal(
      execFileSync('sh', ['-euc', `${machine}\n${stdout}`], { encoding: 'utf8' }),
      `<set><100><--virtio1><${file('a.qcow2')},format=qcow2,ro=1,serial=dpl-a,backup=0,replicate=0>
<set><100><--virtio2><${file('b.raw')},format=raw,ro=1,serial=b,backup=0,replicate=0>
<set><100><--args><-smbios type=11,value=io.systemd.credential:docker-preloader.required=dpl-a,,b>
`,
    );
    for (const line of stderr.split('\n')) assert.match(line, /^docker-preloader: /);
  });

  it('names the disks that one stands on, and a label that no guest looks for by itself', async () => {
    const { exitCode, stdout, stderr } = await attach('--for', 'libvirt', 'b.raw');
    assert.equal(exitCode, 3);
    assert.match(stdout, /<serial>b<\/serial>/);
    assert.match(
      stderr,
      /b\.raw stands on dpl-a \(sha256:[0-9a-f]{64}\), which is not among the disks: attach it, too/,
    );
    assert.match(stderr, /b does not begin with dpl-: a guest takes it only where its `labels` or `required` say so/);
    const other = await attach('--for', 'libvirt', '--required', 'b.raw', 'a-too.raw');
    assert.equal(other.exitCode, 3);
    assert.match(
      other.stderr,
      /b\.raw stands on dpl-a \(sha256:[0-9a-f]{64}\), but \S*a-too\.raw is sha256:[0-9a-f]{64}: images may be left out$/,
    );
    const whole = await attach('--for', 'libvirt', '--required', 'a.qcow2', 'b.raw');
    assert.deepEqual([whole.exitCode, whole.stderr], [0, '']);
  });

  it('reads a disk under any name, and prints that name', async () => {
    for (const name of [`a 'b', "c"\n<d>.raw`, 'ä\u{1f433}.raw', '-o.raw']) {
      linkSync(file('erofs.raw'), file(name));
      const { exitCode, stdout, stderr } = await agent(['attach', '--for', 'qemu', '--json', file(name)]);
      assert.equal(exitCode, 0, stderr);
      assert.equal((JSON.parse(stdout) as { disks: readonly { path: string }[] }).disks[0]?.path, file(name));
    }
    // A name that is no UTF-8 is given by a link.
    execFileSync('sh', [
      '-c',
      `ln "$1" "$2/$(printf 'x\\377')"; ln -s "$(printf 'x\\377')" "$2/link.raw"`,
      'sh',
      file('erofs.raw'),
      folder,
    ]);
    const { stdout } = await attach('--for', 'firecracker', 'link.raw');
    assert.match(stdout, /"path_on_host": "[^"]*\/link\.raw"/);
    const bytes = execFileSync(
      'sh',
      ['-c', `"$@" "$(printf '${folder}/x\\377')" 2>&1; true`, 'sh', ...agentCommand(), 'attach', '--for', 'qemu'],
      { encoding: 'utf8' },
    );
    assert.match(
      bytes,
      /expected a disk, found no such file \(a name that is not UTF-8 cannot be given: make a link to it\)\n$/,
    );
  });

  it('refuses what is no disk, in a line', async () => {
    writeFileSync(file('empty.raw'), '');
    writeFileSync(file('zeros.raw'), Buffer.alloc(1 << 20));
    execFileSync('cp', [file('b.raw'), file('cut.raw')]);
    truncateSync(file('cut.raw'), 300_000);
    symlinkSync('circle.raw', file('circle.raw'));
    mkdirSync(file('folder.raw'));
    for (const [name, says] of [
      ['none.raw', /none\.raw: expected a disk, found no such file$/],
      ['empty.raw', /empty\.raw: expected a raw image or qcow2 of ext4 or erofs/],
      ['zeros.raw', /zeros\.raw: expected a raw image or qcow2 of ext4 or erofs/],
      ['cut.raw', /cut\.raw: it is cut off/],
      ['circle.raw', /circle\.raw: symlinks that lead in a circle$/],
      ['folder.raw', /folder\.raw: /],
      ['/dev/null', /\/dev\/null: expected a file or a block device/],
    ] as const)
      await refused(1, says, '--for', 'qemu', name);
    await refused(
      1,
      /a-too\.raw: expected a label of its own, found dpl-a, as \S*a\.qcow2 has it/,
      '--for',
      'qemu',
      'a.qcow2',
      'a-too.raw',
    );
    await refused(1, /expected a label of its own/, '--for', 'qemu', 'a.qcow2', 'a.qcow2');
    await refused(1, /expected a raw image, as Firecracker reads no other/, '--for', 'firecracker', 'a.qcow2');
  });

  it('refuses a wrong usage, in a line', async () => {
    await refused(2, /Allowed choices are qemu, libvirt, proxmox/, '--for', 'xen', 'a.qcow2');
    await refused(2, /required option '--for <hypervisor>' not specified/, 'a.qcow2');
    await refused(2, /missing required argument 'disk'/, '--for', 'qemu');
    await refused(
      2,
      /--first: expected --for libvirt or proxmox, found --for qemu/,
      '--for',
      'qemu',
      '--first',
      '2',
      'a.qcow2',
    );
    for (const first of ['x', '1.5', '1000', ''])
      await refused(2, /--first: expected a number up to 999, found/, '--for', 'libvirt', '--first', first, 'a.qcow2');
  });
});
