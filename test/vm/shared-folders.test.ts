import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { agent, agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import { attach } from '../support/loop-device.ts';
import { runInSmallMachine, type Share } from '../support/small-machine.ts';
import { tempTree } from '../support/temp-tree.ts';

/** Folders that a host shares with its guests: real virtiofsd, QEMU's 9p, and the kernel's own clients of both. */
describe('folders that the host shares', () => {
  let folder = '';
  const below = (name: string): string => path.join(folder, name);
  const base: LayerEntry[] = [
    { name: 'etc' },
    { name: 'etc/kept', content: 'kept\n' },
    { name: 'etc/gone', content: 'gone\n' },
    { name: 'old' },
    { name: 'old/file', content: 'old\n' },
  ];
  const images: Readonly<Record<string, readonly LayerEntry[]>> = {
    plain: [{ name: 'etc' }, { name: 'etc/new', content: 'new\n' }],
    deletes: [{ name: 'etc' }, { name: 'etc/.wh.gone', content: '' }],
    replaces: [{ name: 'old' }, { name: 'old/.wh..wh..opq', content: '' }, { name: 'old/new', content: 'new\n' }],
  };

  /** A disk, made as users make it, and its files in a folder, as the documentation says. */
  const copied = async (name: string): Promise<string> => {
    const [archive, disk, mounted, copy] = [`${name}.tar`, `${name}.raw`, `${name}.mnt`, name].map(below) as [
      string,
      string,
      string,
      string,
    ];
    await writeFile(archive, await dockerArchive([{ tags: [`${name}:1`], layers: [base, images[name] ?? []] }]));
    const { exitCode, all } = await agent(['build', archive, '-o', disk, '--format', 'raw']);
    assert.equal(exitCode, 0, all);
    const { device } = await attach(disk);
    await mkdir(mounted);
    await execa('mount', ['-o', 'ro', device, mounted]);
    await execa('cp', ['-a', mounted, copy]);
    await execa('umount', [mounted]);
    return copy;
  };

  before(async () => {
    folder = (await tempTree('dpl-shares')).path;
    for (const name of Object.keys(images)) await copied(name);
  });
  after(cleanUpAll);

  const whole = { virtiofs: ['xattr', 'modcaps=+sys_admin'] } as const;
  const shares: readonly (Share & { readonly content: string; readonly kind: string })[] = (
    [
      ['v-plain', 'plain', 'virtiofs', { virtiofs: [] }],
      ['v-deletes', 'deletes', 'virtiofs', { virtiofs: [] }],
      ['v-replaces', 'replaces', 'virtiofs', { virtiofs: [] }],
      ['v-whole', 'replaces', 'virtiofs', whole],
      ['p-plain', 'plain', '9p', { '9p': 'passthrough' }],
      ['p-deletes', 'deletes', '9p', { '9p': 'passthrough' }],
      ['p-replaces', 'replaces', '9p', { '9p': 'passthrough' }],
      ['m-deletes', 'deletes', '9p', { '9p': 'mapped-xattr' }],
    ] as const
  ).map(([tag, content, kind, by]) => ({ tag, content, kind, by, folder: '' }));

  it('are taken where all comes through, and refused by name where not', async () => {
    const config = (sources: readonly string[]): object => ({
      labels: [],
      sources,
      deviceTimeoutSec: 1,
      dataRoot: '/var/docker',
      dockerConfig: '/none.json',
      store: 'overlay2',
    });
    await writeFile(below('config.json'), JSON.stringify(config(shares.map(({ tag, kind }) => `${kind}:${tag}`))));
    const printed = await runInSmallMachine({
      suite: 'bookworm',
      files: { '/bin/docker-preloader': agentCommand()[0], '/config.json': below('config.json') },
      shares: shares.map((share) => ({ ...share, folder: below(share.content) })),
      script: `
        docker-preloader apply --config /config.json; echo "status $?"
        grep docker-preloader/disks /proc/mounts
        for label in ${shares.map(({ tag }) => tag).join(' ')}; do
          cd /run/docker-preloader/disks/$label/overlay2 || continue
          mkdir -p /run/merged
          top=$(ls -d */lower); top=\${top%/lower}; bottom=$(ls | grep -v "^l$" | grep -v "^$top$")
          mount -t overlay overlay -o lowerdir=$top/diff:$bottom/diff /run/merged
          echo "$label:" $(cd /run/merged && ls etc old)
          umount /run/merged
        done
        docker-preloader apply --config /config.json > /run/again; echo "again $? $(tail -1 /run/again)"
        echo "left: $(ls -A /run/docker-preloader/disks)"
        cat /run/docker-preloader/status.json
      `,
    });
    const line = (start: string): string =>
      printed
        .split('\n')
        .find((one) => one.startsWith(start))
        ?.slice(start.length) ?? assert.fail(`${start}:\n${printed}`);
    assert.equal(line('status '), '3');
    assert.match(line('again '), /^3 degraded: .*nothing to change/);
    // Where an opaque folder is lost, a container would see what the image has replaced: `old/file`.
    for (const [tag, seen] of [
      ['v-plain', 'etc: gone kept new old: file'],
      ['v-deletes', 'etc: kept old: file'],
      ['v-replaces', 'etc: gone kept old: file new'],
      ['v-whole', 'etc: gone kept old: new'],
      ['p-plain', 'etc: gone kept new old: file'],
      ['p-deletes', 'etc: kept old: file'],
      ['p-replaces', 'etc: gone kept old: file new'],
      ['m-deletes', 'etc: kept old: file'],
    ] as const) {
      assert.equal(line(`${tag}: `), seen, tag);
      assert.match(
        line(`${tag} /run/docker-preloader/disks/${tag} `),
        /^(?:virtiofs|9p) ro,(?:dirsync,)?nosuid,nodev,noexec,/,
      );
    }
    const status = JSON.parse(printed.slice(printed.indexOf('{"state"'))) as StatusDocument;
    const refused = ['p-replaces', 'v-replaces'];
    assert.deepEqual(
      status.findings.map(({ code, label, device }) => [code, label, device]),
      [
        ['SOURCE_LOSSY', 'p-replaces', '9p:p-replaces'],
        ['SOURCE_LOSSY', 'v-replaces', 'virtiofs:v-replaces'],
      ],
    );
    for (const { message } of status.findings)
      assert.match(
        message,
        /diff\/old: expected the extended attribute trusted.overlay.opaque, found none on (?:virtiofs|9p);/,
      );
    assert.deepEqual(
      new Map(status.disks.map(({ label, state, adopted }) => [label, [state, adopted]])),
      new Map(shares.map(({ tag }) => [tag, refused.includes(tag) ? ['refused', false] : ['in-use', true]])),
    );
    assert.deepEqual(status.stores[0]?.names, ['deletes:1', 'plain:1', 'replaces:1']);
    assert.doesNotMatch(printed, /\.(?:source|lower)-/);
  });
});
