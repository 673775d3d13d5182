import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa, execaSync } from 'execa';
import { sizeOfList, type ReadAheadList } from '../../agent/disk/read-ahead-list.ts';
import { piecesInMemory } from '../../agent/system/page-cache.ts';
import { savedArchive } from '../builder/archive/archives.ts';
import { makeTar } from '../builder/tar/make-tar.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { hidesPageCache } from '../support/kernel.ts';
import { attach, copyWithLabel } from '../support/loop-device.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { makeSite, type Site } from './site.ts';
import { startDaemon } from './site-daemon.ts';

/** More than a single call of the agent's reads ahead, and more than the kernel reads ahead by itself. */
const BIG = 3_000_000;

describe('what a disk lists to be read ahead', { skip: hidesPageCache() }, () => {
  let tree: TempTree;
  let outside = '';
  const layers = [
    [
      { name: 'folder/', type: '5' },
      { name: 'folder/small', content: 'small'.repeat(4000) },
      { name: 'big', content: Buffer.alloc(BIG, 'big') },
      { name: 'never', content: Buffer.alloc(BIG, 'never') },
    ],
    [
      { name: 'upper', content: Buffer.alloc(100_000, 'upper') },
      { name: 'fifo', type: '6' },
      { name: 'alias', type: '2', linkName: 'upper' },
      { name: 'way-in', type: '2', linkName: '.' },
    ],
  ] as const;
  const label = `ra-${process.pid.toString(36)}`;
  const at = (name: string): string => path.join(tree.path, name);

  before(async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    tree = await tempTree('dpl-ahead');
    outside = at('outside');
    writeFileSync(outside, Buffer.alloc(BIG, 'outside'));
    await execa('sync', [outside]);
    const links = [
      { name: 'way-out', type: '2', linkName: tree.path },
      { name: 'out', type: '2', linkName: outside },
    ] as const;
    writeFileSync(
      at('app.tar'),
      savedArchive([
        {
          tags: ['app:1'],
          layers: layers.map((entries, index) => makeTar([...entries, ...(index === 1 ? links : [])])),
        },
      ]),
    );
    await build('plain.ext4');
  });
  after(cleanUpAll);

  const build = async (disk: string, ...args: readonly string[]): Promise<string> => {
    const { exitCode, all, stdout } = await agent([
      'build',
      '--quiet',
      at('app.tar'),
      '-o',
      at(disk),
      '--format',
      'raw',
      '--label',
      label,
      ...args,
    ]);
    assert.equal(exitCode, 0, all);
    return stdout;
  };
  const chains = (): string[] =>
    (JSON.parse(readFileSync(at('inspected.json'), 'utf8')) as { images: [{ layers: string[] }] }).images[0].layers;
  const inspect = async (
    disk: string,
  ): Promise<{ readonly readAhead: unknown; readonly images: [{ readonly layers: readonly string[] }] }> => {
    const { exitCode, all, stdout } = await agent(['inspect', '--json', '--deep', at(disk)]);
    assert.equal(exitCode, 0, all);
    return JSON.parse(stdout) as Awaited<ReturnType<typeof inspect>>;
  };
  /** A guest that boots with a disk: what its daemon makes of it from READY on. */
  const booted = async (
    disk: string,
    config: Readonly<Record<string, unknown>>,
    work: (site: Site, said: () => string) => Promise<void>,
  ): Promise<void> => {
    const site = await makeSite('28.5', { labels: [label], ...config });
    const loop = await attach(at(disk));
    const daemon = await startDaemon(site);
    try {
      await work(site, () => daemon.log());
    } finally {
      assert.equal(await daemon.stop(), 0, daemon.log());
      await site.remove();
      await loop.detach();
    }
  };
  const files = (site: Site): Map<string, string> => {
    const overlay = path.join(site.mountRoot, label, 'overlay2');
    const folders = readdirSync(overlay)
      .filter((name) => name !== 'l')
      .map((name) => path.join(overlay, name, 'diff'));
    // Node's recursive readdir follows symlinks, and one of the layers leads into itself.
    const names = execaSync('find', [...folders, '-type', 'f']).stdout.split('\n');
    return new Map(names.map((name) => [path.basename(name), name] as const));
  };
  const bytesInMemory = (file: string | undefined): number =>
    piecesInMemory(file ?? '').reduce((sum, { length }) => sum + length, 0);

  it('is what a run has read, as `record` finds it in memory, in the order of the disk', async () => {
    await booted('plain.ext4', {}, async (site) => {
      const nothing = await site.agent('record');
      assert.deepEqual(JSON.parse(nothing.stdout), { formatVersion: '1.0', layers: [] });
      for (const name of ['upper', 'big', 'small']) readFileSync(files(site).get(name) ?? '');
      const recorded = await site.agent('record');
      assert.equal(recorded.exitCode, 0, recorded.stderr);
      assert.match(recorded.stderr, /3\.1 MB of 3 files in 2 layers are in memory/);
      writeFileSync(at('recorded.json'), recorded.stdout);
    });
    const list = JSON.parse(readFileSync(at('recorded.json'), 'utf8')) as ReadAheadList;
    const plain = await inspect('plain.ext4');
    assert.equal(plain.readAhead, null);
    writeFileSync(at('inspected.json'), JSON.stringify(plain));
    assert.deepEqual(list.layers.map(({ chainId }) => chainId).toSorted(), chains().toSorted());
    assert.deepEqual(
      list.layers.flatMap((layer) => layer.files).toSorted((a, b) => (a.path < b.path ? -1 : 1)),
      [
        { path: 'big', pieces: [{ offset: 0, length: BIG }] },
        { path: 'folder/small', pieces: [{ offset: 0, length: 20_000 }] },
        { path: 'upper', pieces: [{ offset: 0, length: 100_000 }] },
      ],
    );
    for (const filesystem of ['ext4', 'erofs']) {
      assert.match(
        await build(`listed.${filesystem}`, '--filesystem', filesystem, '--read-ahead', at('recorded.json')),
        /, 3\.1 MB of 3 files to read ahead$/,
      );
      assert.deepEqual((await inspect(`listed.${filesystem}`)).readAhead, { files: 3, bytes: BIG + 120_000 });
    }
    const { stdout } = await execa('debugfs', ['-R', 'cat /docker-preloader-read-ahead.json', at('listed.ext4')]);
    const onDisk = JSON.parse(stdout) as ReadAheadList;
    assert.deepEqual(
      onDisk.layers.map((layer) => [layer.chainId, layer.files.map((file) => file.path)]),
      [
        [chains()[0], ['folder/small', 'big']],
        [chains()[1], ['upper']],
      ],
    );
  });

  for (const filesystem of ['ext4', 'erofs']) {
    it(`is in memory soon after READY, and nothing else, on ${filesystem}`, async () => {
      await booted(`listed.${filesystem}`, {}, async (site, said) => {
        await until('a line about it', () => said().includes('read ahead'));
        assert.match(said(), /^disk ra-\w+: 3\.1 MB of 3 files are read ahead$/m);
        const found = files(site);
        await until('all of it in memory', () => bytesInMemory(found.get('big')) === BIG);
        assert.deepEqual(
          ['small', 'big', 'upper', 'never'].map((name) => [name, bytesInMemory(found.get(name))]),
          [
            ['small', 20_000],
            ['big', BIG],
            ['upper', 100_000],
            ['never', 0],
          ],
        );
      });
    });
  }

  it('is read once a boot', async () => {
    await booted('listed.ext4', {}, async (site, said) => {
      await until('a line about it', () => said().includes('read ahead'));
      const again = await startDaemon(site);
      await delay(500);
      assert.equal(await again.stop(), 0);
      assert.doesNotMatch(again.log(), /read ahead/);
    });
  });

  it('is read of the copy of a layer that Docker has, and recorded of the one that was read', async () => {
    const second = await attach(await copyOf('listed.ext4', 'second.ext4', `${label}-2`));
    await booted('listed.ext4', { labels: [label, `${label}-2`] }, async (site, said) => {
      await until('a line about each', () => said().includes(`${label}-2: `) && said().includes(`${label}: `));
      // The later disk has precedence; of the other, nothing is linked.
      assert.match(said(), /^disk ra-\w+-2: 3\.1 MB of 3 files are read ahead$/m);
      assert.match(said(), /^disk ra-\w+: 0 kB of 0 files are read ahead$/m);
      assert.equal(bytesInMemory(files(site).get('big')), 0);
      assert.deepEqual(sizeOfList(JSON.parse((await site.agent('record')).stdout) as ReadAheadList), {
        files: 3,
        bytes: BIG + 120_000,
      });
    });
    await second.detach();
  });

  const copyOf = async (disk: string, copy: string, copyLabel: string): Promise<string> => {
    await copyWithLabel(at(disk), at(copy), copyLabel);
    return at(copy);
  };

  it('is left alone where the configuration says so, or no more memory may be filled', async () => {
    await booted('listed.ext4', { readAheadMb: 0 }, async (site, said) => {
      await delay(500);
      assert.equal(said(), '');
      assert.equal(bytesInMemory(files(site).get('big')), 0);
    });
    await booted('listed.ext4', { readAheadMb: 0.5 }, async (site, said) => {
      await until('a line about it', () => said().includes('read ahead'));
      assert.match(
        said(),
        /disk ra-\w+: 500 kB of [23] files are read ahead; the rest is left out, since no more memory may be filled$/m,
      );
      await until('some of it in memory', () => bytesInMemory(files(site).get('big')) > 0);
      // What is on the edge is read with a whole page, or with what the device reads at least.
      assert.ok(bytesInMemory(files(site).get('big')) < 700_000);
    });
  });

  it('leads nowhere else, whatever it says', async () => {
    const hostile = [
      'way-in/upper',
      'way-out/outside',
      'out',
      'fifo',
      'alias',
      'missing',
      'upper/below',
      'folder',
      'x'.repeat(5000),
    ];
    const list = (paths: readonly string[], length: number): string =>
      JSON.stringify({
        formatVersion: '1.0',
        layers: chains().map((chainId) => ({
          chainId,
          files: paths.map((name) => ({
            path: name,
            pieces: [
              { offset: -5, length },
              { offset: length, length },
            ],
          })),
        })),
      });
    await execa('cp', [at('listed.ext4'), at('hostile.ext4')]);
    writeFileSync(at('hostile.json'), list([...hostile, 'upper'], Number.MAX_SAFE_INTEGER));
    await replaceList('hostile.ext4', 'hostile.json');
    await execa('dd', [`of=${outside}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
    assert.equal(bytesInMemory(outside), 0);
    await booted('hostile.ext4', {}, async (site, said) => {
      await until('a line about it', () => said().includes('read ahead'));
      // Of both layers, and `upper` of the lower one.
      assert.match(
        said(),
        new RegExp(
          `^disk ra-\\w+: 103 kB of 1 file are read ahead; ${hostile.length * 2 + 1} files of the list left out, which the disk has not as regular files$`,
          'm',
        ),
      );
      assert.equal(bytesInMemory(outside), 0);
      assert.equal(bytesInMemory(files(site).get('upper')), 100_000);
    });
  });

  it('is said not to be of use where it is damaged, and the images are there all the same', async () => {
    for (const [name, content, why] of [
      ['text', 'no list', /JSON/],
      [
        'path',
        JSON.stringify({
          formatVersion: '1.0',
          layers: [{ chainId: chains()[0], files: [{ path: '../../../image', pieces: [] }] }],
        }),
        /`layers\.0\.files\.0\.path`: expected a path below the root of a layer, found "\.\.\/\.\.\/\.\.\/image"/,
      ],
      ['huge', Buffer.alloc(4 * 1024 * 1024 + 1, ' '), /expected at most 4194304 bytes, found 4194305/],
    ] as const) {
      await build('damaged.ext4', '--read-ahead', at('recorded.json'), '--size', '32M');
      writeFileSync(at(name), content);
      await replaceList('damaged.ext4', name);
      await booted('damaged.ext4', {}, async (site, said) => {
        await until('a line about it', () => said().includes('read ahead'));
        assert.match(said(), /^disk ra-\w+: nothing more is read ahead, ignoring: /m);
        assert.match(said(), why);
        const { stdout } = await site.agent('status', '--json');
        assert.equal((JSON.parse(stdout) as { state: string }).state, 'ok', stdout);
      });
    }
  });

  const replaceList = async (disk: string, file: string): Promise<void> => {
    for (const request of ['rm docker-preloader-read-ahead.json', `write ${at(file)} docker-preloader-read-ahead.json`])
      await execa('debugfs', ['-w', '-R', request, at(disk)]);
  };

  it('is refused by `build` where it is no list, and files that are not on the disk are left out of it', async () => {
    for (const [file, expected] of [
      ['app.tar', /app\.tar: expected at most 4194304 bytes/],
      [
        'inspected.json',
        /^docker-preloader: --read-ahead: \S+inspected\.json: expected a list that docker-preloader record printed: /,
      ],
      ['nowhere', /nowhere: expected a list that docker-preloader record printed, found no such file/],
      ['', /expected a regular file, found something else/],
    ] as const) {
      const { exitCode, stderr } = await agent([
        'build',
        at('app.tar'),
        '-o',
        at('refused.qcow2'),
        '--read-ahead',
        at(file),
      ]);
      assert.equal(exitCode, 2, stderr);
      assert.match(stderr, expected);
    }
    const other = { ...(JSON.parse(readFileSync(at('recorded.json'), 'utf8')) as ReadAheadList) };
    const files = [
      ...other.layers.flatMap((layer) => layer.files),
      { path: 'alias', pieces: [{ offset: 0, length: 1 }] },
      { path: 'gone', pieces: [{ offset: 0, length: 1 }] },
    ];
    writeFileSync(
      at('other.json'),
      JSON.stringify({
        ...other,
        layers: [
          { chainId: chains()[1], files },
          { chainId: `sha256:${'0'.repeat(64)}`, files },
        ],
      }),
    );
    assert.match(await build('other.ext4', '--read-ahead', at('other.json')), /, 100 kB of 1 file to read ahead$/);
    assert.deepEqual((await inspect('other.ext4')).readAhead, { files: 1, bytes: 100_000 });
  });

  it('has nothing to be recorded from without a disk', async () => {
    const site = await makeSite('28.5');
    try {
      const { exitCode, stderr, stdout } = await site.agent('record');
      assert.equal(exitCode, 1);
      assert.equal(stdout, '');
      assert.match(
        stderr,
        /^docker-preloader: expected a preload disk, found none that could be read; docker-preloader status tells why$/m,
      );
    } finally {
      await site.remove();
    }
  });
});
