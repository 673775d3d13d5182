import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { layerProblem } from '../../agent/verify/layer-content.ts';
import type { ChainID } from '../../agent/docker/ids.ts';
import { emptyLayer, ownLayerNames } from '../../agent/docker/layer-folders.ts';
import { agent, agentCommand, withoutRoot } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive, type ArchiveImage } from '../support/docker-archive.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { busyboxRoot } from '../support/images.ts';
import { tempTree, type TempTree, unmountBelow } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

interface Verification {
  readonly state: string;
  readonly dockerRunning: boolean;
  readonly compared: { readonly metadataFiles: number; readonly layers: number; readonly bytes: number };
  readonly findings: readonly { readonly code: string; readonly message: string; readonly label?: string }[];
}

interface MadeDisk {
  readonly file: string;
  readonly archive: string;
  /** Base first. */
  chains(reference: string): readonly ChainID[];
  id(reference: string): string;
}

/** Each of these layers gets a damage of its own. */
const LAYERS = 14;
const exitStatuses: Readonly<Record<string, number>> = { ok: 0, degraded: 3, failed: 1 };
const messagesOf = ({ findings }: Verification): string =>
  findings.map(({ code, message }) => `${code} ${message}`).join('\n');

describe('verify', () => {
  let tree: TempTree;
  let site: Site;
  let made: MadeDisk;
  let shared: MadeDisk;

  before(async () => {
    tree = await tempTree('dpl-verify');
    const base = await busyboxRoot();
    made = await diskOf('made', [
      {
        tags: ['many:1'],
        layers: [
          base,
          ...Array.from({ length: LAYERS }, (_, index) => [{ name: `file-${index}`, content: `${index}\n` }]),
        ],
      },
      { tags: ['app:1'], layers: [base, [{ name: 'file', content: 'first\n' }]] },
      { tags: ['app:2'], layers: [base, [{ name: 'file', content: 'second\n' }]] },
    ]);
    shared = await diskOf('shared', [{ tags: ['shared:1'], layers: [base, [{ name: 'file', content: 'shared\n' }]] }]);
    site = await makeSite('28.5');
    await site.attach(made.file);
    await site.apply();
  });
  after(cleanUpAll);

  async function diskOf(name: string, images: readonly ArchiveImage[]): Promise<MadeDisk> {
    const file = await makeDisk(path.join(tree.path, `${name}.ext4`), await dockerArchive(images));
    const { stdout } = await agent(['inspect', '--json', file]);
    const { images: found } = JSON.parse(stdout) as {
      images: { id: string; references: string[]; layers: ChainID[] }[];
    };
    const image = (reference: string): { id: string; layers: ChainID[] } =>
      found.find(({ references }) => references.includes(reference)) ?? assert.fail(reference);
    return {
      file,
      archive: `${file}.tar`,
      chains: (reference) => image(reference).layers,
      id: (reference) => image(reference).id,
    };
  }

  /** Runs `verify`, which is to change nothing. */
  async function verify(of: Site = site, ...args: readonly string[]): Promise<Verification> {
    const [before, mounts] = [of.snapshot(), mountsBelow(of)];
    const { exitCode, stdout, stderr } = await of.agent('verify', '--json', ...args);
    assert.equal(stderr, '');
    const verification = JSON.parse(stdout) as Verification;
    assert.equal(exitCode, exitStatuses[verification.state], stdout);
    // dockerd itself writes while it runs.
    if (!verification.dockerRunning) assert.deepEqual(of.snapshot(), before);
    assert.equal(mountsBelow(of), mounts);
    return verification;
  }

  /** Types what the findings say to type. */
  async function cure({ findings }: Verification): Promise<void> {
    const commands = new Set(findings.flatMap(({ message }) => /; run: (.*)$/.exec(message)?.[1] ?? []));
    assert.ok(commands.size > 0);
    for (const command of commands) {
      const [, file] =
        /^(?:rm (\S+) && )?docker-preloader apply$/.exec(command) ?? assert.fail(`unknown cure: ${command}`);
      if (file !== undefined) unlinkSync(file);
    }
    await site.apply();
  }

  // How an overlay is shown depends on a parameter of its module, which another test changes.
  const mountsBelow = ({ folder }: Site): string =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(folder))
      .map((line) => line.replace(/,redirect_dir=\w+/, ''))
      .join('\n');
  const inRoot = (...names: readonly string[]): string => path.join(site.dataRoot, ...names);
  const record = (chain: ChainID, name = ''): string => inRoot('image/overlay2/layerdb/sha256', chain.slice(7), name);
  const overlay = (chain: ChainID, name = ''): string => inRoot('overlay2', ownLayerNames(chain).cacheId, name);
  const link = (chain: ChainID): string => inRoot('overlay2/l', ownLayerNames(chain).link);
  const config = (reference: string): string =>
    inRoot('image/overlay2/imagedb/content/sha256', made.id(reference).slice(7));
  const ledger = (): string => inRoot('docker-preloader/ledger.json');
  const repositories = (): string => inRoot('image/overlay2/repositories.json');
  /** Other content of the same size: what looking at sizes does not see. */
  const change = (file: string): void =>
    writeFileSync(
      file,
      readFileSync(file).map((byte, index) => (index === 5 ? byte ^ 1 : byte)),
    );
  /** From now on, the agent trusts sizes. */
  const noteSynced = (): void =>
    writeFileSync(ledger(), readFileSync(ledger(), 'utf8').replace('"synced":false', '"synced":true'));

  it('has no fault to tell of a store that was just filled, and reads every layer with --deep', async () => {
    const shallow = await verify();
    assert.deepEqual([shallow.state, shallow.findings, shallow.compared.layers], ['ok', [], 0]);
    const { state, findings, compared } = await verify(site, '--deep');
    assert.deepEqual([state, findings], ['ok', []]);
    assert.equal(compared.layers, LAYERS + 3);
    assert.ok(compared.bytes > 2_000_000 && compared.metadataFiles > 5 * compared.layers, JSON.stringify(compared));
  });

  it('works while dockerd runs and containers of the images are there', async () => {
    const dockerd = await site.start();
    await dockerd.cli(['run', '--detach', '--network', 'none', '--name', 'runs', 'app:1', 'sleep', '1000']);
    await dockerd.cli(['commit', 'runs', 'own:1']);
    await dockerd.cli(['load', '--input', shared.archive]);
    const { state, dockerRunning, findings } = await verify();
    assert.deepEqual([state, dockerRunning, findings], ['ok', true, []]);
    // A tag that the user removes is due to come back, and is no damage; what a power cut or a hand does is.
    await dockerd.cli(['rmi', 'app:2']);
    unlinkSync(overlay(made.chains('app:1')[1] ?? assert.fail(), 'lower'));
    const damaged = await verify();
    assert.equal(damaged.state, 'failed');
    assert.match(
      messagesOf(damaged),
      /^STORE_DIFFERS disk \S+: 1 image and 0 layers \(app:2\) are not in the store yet; run: systemctl restart docker$/m,
    );
    assert.match(
      messagesOf(damaged),
      /^STORE_DAMAGED layer .* overlay2\/\w+\/lower: expected l\/\S+, found nothing; run: systemctl restart docker$/m,
    );
    await dockerd.cli(['rm', '--force', 'runs']);
    await dockerd.stop();
    await site.apply();
    assert.equal((await verify()).state, 'ok');
  });

  interface Damage {
    readonly what: string;
    readonly damage: (chain: ChainID) => unknown;
    readonly says: RegExp;
  }

  const relink = (file: string, target: string): void => {
    unlinkSync(file);
    symlinkSync(target, file);
  };
  const layerDamages: readonly Damage[] = [
    {
      what: 'a link to the disk that is gone',
      damage: (chain) => unlinkSync(overlay(chain, 'diff')),
      says: /\/diff: expected \/\S+\/overlay2\/\w+\/diff, found nothing; run/,
    },
    {
      what: 'a link that leads elsewhere',
      damage: (chain) => relink(overlay(chain, 'diff'), '/nowhere'),
      says: /\/diff: expected \S+, found \/nowhere; run/,
    },
    {
      what: 'a lower of another layer',
      damage: (chain) => writeFileSync(overlay(chain, 'lower'), `l/${emptyLayer.link}`),
      says: /\/lower: expected .*, found l\/\w+; run/,
    },
    {
      what: 'an empty link file, as a power cut leaves it',
      damage: (chain) => writeFileSync(overlay(chain, 'link'), ''),
      says: /\/link: expected \w+, found an empty file; run/,
    },
    {
      what: 'a missing `committed`',
      damage: (chain) => unlinkSync(overlay(chain, 'committed')),
      says: /\/committed: expected a file, found nothing; run/,
    },
    {
      what: 'a missing l/ link',
      damage: (chain) => unlinkSync(link(chain)),
      says: /overlay2\/l\/\w+: expected \.\.\/\w+\/diff, found nothing; run/,
    },
    {
      what: 'a layer folder that is gone',
      damage: (chain) => rmSync(overlay(chain), { recursive: true }),
      says: / overlay2\/\w+\/diff: expected .*, found nothing, and 3 more files; run/,
    },
    {
      what: 'a record that is gone',
      damage: (chain) => rmSync(record(chain), { recursive: true }),
      says: /layerdb\/sha256\/\w+\/\S+: expected .*, found nothing, and \d more files; run/,
    },
    {
      what: 'a record with another size',
      damage: (chain) => writeFileSync(record(chain, 'size'), '1'),
      says: /\/size: expected \d+, found 1; run/,
    },
    {
      what: 'a record with another parent',
      damage: (chain) => writeFileSync(record(chain, 'parent'), chain),
      says: /\/parent: expected sha256:\w+, found sha256:\w+; run/,
    },
    {
      what: 'an empty cache-id',
      damage: (chain) => writeFileSync(record(chain, 'cache-id'), ''),
      says: /\/cache-id: expected \w+, found an empty file; run/,
    },
    {
      what: 'a missing tar-split',
      damage: (chain) => unlinkSync(record(chain, 'tar-split.json.gz')),
      says: /tar-split\.json\.gz: expected that of the disk, found another, or none; run/,
    },
    {
      what: 'a tar-split of other content and the same size',
      damage: (chain) => change(record(chain, 'tar-split.json.gz')),
      says: /tar-split\.json\.gz: expected the same as on the disk, found another; run: rm \S+ && /,
    },
  ];
  const imageDamages: readonly Damage[] = [
    {
      what: 'an image configuration of other content and the same size',
      damage: () => change(config('many:1')),
      says: /image many:1: expected a configuration with digest sha256:\w+, found sha256:\w+; run: rm \S+ && /,
    },
    {
      what: 'a missing image configuration',
      damage: () => unlinkSync(config('app:1')),
      says: /image app:1: \S+: expected its configuration, found nothing; run/,
    },
    {
      what: 'an image configuration cut short',
      damage: () => writeFileSync(config('app:2'), ''),
      says: /image app:2: \S+: expected the configuration with this digest, found something else; run/,
    },
    {
      what: 'a missing empty layer',
      damage: () => rmSync(inRoot('overlay2', emptyLayer.cacheId), { recursive: true }),
      says: /the empty layer that base layers of disks stand on is missing or not whole; run/,
    },
    {
      what: 'a disk that is not mounted',
      damage: () => unmountBelow(site.mountRoot),
      says: /disk \S+ is not mounted where dockerd looks for its layers; run/,
    },
  ];

  for (const [kind, damages] of [
    ['layers', layerDamages],
    ['images and mounts', imageDamages],
  ] as const) {
    describe(`of damaged ${kind}`, () => {
      let found: Verification;

      before(async () => {
        noteSynced();
        const layers = made.chains('many:1').slice(1);
        assert.ok(damages.length <= layers.length);
        for (const [index, { damage }] of damages.entries()) await damage(layers[index] ?? assert.fail());
        found = await verify();
      });

      for (const { what, says } of damages) {
        it(`tells of ${what}`, () => {
          assert.equal(found.state, 'failed');
          const told = found.findings.filter(({ code, message }) => code === 'STORE_DAMAGED' && says.test(message));
          assert.equal(told.length, 1, messagesOf(found));
        });
      }

      it('tells of nothing else, and what it says to do mends all of it', async () => {
        assert.equal(found.findings.length, damages.length, messagesOf(found));
        await cure(found);
        const { state, findings } = await verify(site, '--deep');
        assert.deepEqual([state, findings], ['ok', []]);
      });
    });
  }

  for (const { what, damage, says } of [
    {
      what: 'a tag that is gone',
      damage: () =>
        writeFileSync(repositories(), readFileSync(repositories(), 'utf8').replace(/"app:1":"[^"]+",?/, '')),
      says: /^STORE_DIFFERS app:1: expected image sha256:\w+, found no such name; run/,
    },
    {
      what: 'a lost ledger',
      damage: () => unlinkSync(ledger()),
      says: /^STORE_DIFFERS the ledger does not say what is in the store; run/,
    },
    {
      what: 'a ledger that is no JSON',
      damage: () => writeFileSync(ledger(), '{'),
      says: /^LEDGER_INVALID .*\nSTORE_DIFFERS the ledger does not say what is in the store; run/,
    },
  ]) {
    it(`tells of ${what}, and what it says to do mends it`, async () => {
      damage();
      const found = await verify();
      assert.equal(found.state, 'degraded');
      assert.match(messagesOf(found), says);
      await cure(found);
      assert.equal((await verify()).state, 'ok');
    });
  }

  it('runs the images after all of that', async () => {
    const dockerd = await site.start();
    for (const [image, command, expected] of [
      ['app:1', 'cat /file', 'first'],
      ['app:2', 'cat /file', 'second'],
      ['own:1', 'cat /file', 'first'],
      ['many:1', 'cat /file-13', '13'],
    ] as const) {
      assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]), expected);
    }
    await dockerd.stop();
  });

  it('tells of a disk that came and of one that went, and of layers that neither ledger nor disk knows', async () => {
    const other = await diskOf('other', [
      { tags: ['other:1'], layers: [await busyboxRoot(), [{ name: 'file', content: 'other\n' }]] },
    ]);
    await site.attach(other.file);
    const came = await verify();
    assert.equal(came.state, 'degraded');
    assert.match(
      messagesOf(came),
      /^STORE_DIFFERS disk \S+-other: 1 image and 1 layer \(other:1\) are not in the store yet; run: docker-preloader apply$/,
    );
    const before = readFileSync(ledger());
    await cure(came);
    await site.detach(other.file);
    const went = await verify();
    assert.equal(went.state, 'degraded');
    assert.match(
      messagesOf(went),
      /^STORE_DIFFERS 1 image and 1 layer \(other:1\) of disks that are not attached any more are still in the store; run: docker-preloader apply$/,
    );
    writeFileSync(ledger(), before);
    const forgotten = await verify();
    assert.equal(forgotten.state, 'failed');
    assert.match(
      messagesOf(forgotten),
      /^STORE_DAMAGED layer sha256:\w+ is in the store, but neither in the ledger nor on a disk; run: rm \S+ && docker-preloader apply$/m,
    );
    // With the ledger lost, whose image it was cannot be known: it stays, and its disk is named.
    unlinkSync(ledger());
    await site.apply(3);
    const kept = await verify();
    assert.match(messagesOf(kept), /^KEPT disk \S+-other no longer has 1 layer that image other:1 stands on/);
    await site.attach(other.file);
    await site.apply();
    assert.equal((await verify()).state, 'ok');
  });

  it("finds damage in layers of the user that a disk's images stand on, with --deep", async () => {
    await site.attach(shared.file);
    await site.apply();
    assert.equal((await verify(site, '--deep')).state, 'ok');
    const [, chain] = shared.chains('shared:1');
    const cacheId = readFileSync(record(chain ?? assert.fail(), 'cache-id'), 'utf8');
    change(inRoot('overlay2', cacheId, 'diff/file'));
    assert.equal((await verify()).state, 'ok');
    const found = await verify(site, '--deep');
    assert.equal(found.state, 'failed');
    assert.match(
      messagesOf(found),
      /^CONTENT_WRONG layer sha256:\w+ of your own: expected content with digest sha256:\w+, found sha256:\w+; remove the images that use it, then pull or load them again$/,
    );
  });

  it("tells of damage on a disk: of metadata always, of layers' content with --deep", async () => {
    const damaged = path.join(tree.path, 'damaged.ext4');
    await cp(made.file, damaged);
    const mounted = path.join(tree.path, 'mounted');
    mkdirSync(mounted);
    await execa('mount', ['-o', 'loop', damaged, mounted]);
    const layers = made.chains('many:1').slice(1);
    const onDisk = (index: number, name: string): string =>
      path.join(mounted, 'overlay2', ownLayerNames(layers[index] ?? assert.fail()).cacheId, name);
    writeFileSync(onDisk(0, 'diff/file-0'), '9\n');
    truncateSync(onDisk(1, 'diff/file-1'), 0);
    unlinkSync(onDisk(2, 'diff/file-2'));
    unlinkSync(path.join(mounted, 'image/overlay2/layerdb/sha256', (layers[3] ?? '').slice(7), 'tar-split.json.gz'));
    writeFileSync(onDisk(4, 'link'), 'A'.repeat(26));
    const names = path.join(mounted, 'image/overlay2/repositories.json');
    writeFileSync(names, readFileSync(names, 'utf8').replace('app:1', 'app:9'));
    mkdirSync(path.join(mounted, 'image/overlay2/imagedb/metadata/sha256', made.id('app:1').slice(7)));
    writeFileSync(
      path.join(mounted, 'image/overlay2/imagedb/metadata/sha256', made.id('app:1').slice(7), 'parent'),
      made.id('app:2'),
    );
    await unmountBelow(mounted);

    const other = await makeSite('28.5');
    await other.attach(damaged);
    await other.apply();
    const shallow = await verify(other);
    assert.equal(shallow.state, 'failed');
    const expected = [
      /^CONTENT_WRONG disk \S+: image\/overlay2\/layerdb\/sha256\/\w+\/tar-split\.json\.gz: expected a regular file, found none; copy the disk again, or build it again$/m,
      /^CONTENT_WRONG disk \S+: image\/overlay2\/repositories\.json: expected content with digest sha256:\w+, found sha256:\w+; copy/m,
      /^CONTENT_WRONG disk \S+: overlay2\/\w+\/link: expected content with digest/m,
      /^CONTENT_WRONG disk \S+: image\/overlay2\/imagedb\/metadata\/sha256\/\w+\/parent: expected a file that the manifest lists, found one that it does not/m,
    ];
    for (const says of expected) assert.match(messagesOf(shallow), says);
    assert.equal(shallow.findings.length, expected.length, messagesOf(shallow));

    const deep = await verify(other, '--deep');
    const more = [
      /^CONTENT_WRONG disk \S+: layer sha256:\w+: expected content with digest sha256:\w+, found sha256:\w+; copy/m,
      /^CONTENT_WRONG disk \S+: layer sha256:\w+: 'file-1': expected 2 bytes, found 0; copy/m,
      /^CONTENT_WRONG disk \S+: layer sha256:\w+: file-2: expected a regular file, found none; copy/m,
      /^CONTENT_WRONG disk \S+: layer sha256:\w+: expected a tar-split\.json\.gz, without which its content cannot be compared, found none; copy/m,
    ];
    for (const says of [...expected, ...more]) assert.match(messagesOf(deep), says);
    assert.equal(deep.findings.length, expected.length + more.length, messagesOf(deep));

    const { exitCode, stdout, stderr } = await other.agent('verify', '--deep');
    assert.deepEqual([exitCode, stderr], [1, '']);
    assert.equal(
      stdout
        .split('\n')
        .slice(0, -1)
        .join('\n')
        .replaceAll(/^CONTENT_WRONG:/gm, 'CONTENT_WRONG'),
      messagesOf(deep),
    );
    assert.match(
      stdout,
      /\nfailed: 8 faults: \S+ against 1 disk, \d+ metadata files compared, 17 layers of \d+\.\d MB compared with their digests$/,
    );
  });

  it('follows no tar-split out of its layer', async () => {
    const folder = path.join(tree.path, 'hostile');
    mkdirSync(path.join(folder, 'diff'), { recursive: true });
    writeFileSync(path.join(folder, 'secret'), 'secret');
    const tarSplitPath = path.join(folder, 'tar-split.json.gz');
    writeFileSync(tarSplitPath, gzipSync('{"type":1,"name":"../secret","size":6}\n'));
    assert.match(
      (await layerProblem(
        { diffID: '', tarSplitPath, diffPath: path.join(folder, 'diff'), budget: undefined },
        () => undefined,
      )) ?? '',
      /expected a regular file, found none/,
    );
  });

  it('shows on a terminal how far it is, and leaves nothing behind on Ctrl-C', async () => {
    await ensureDebianPackages(['bsdutils'], { install: true });
    const large = await diskOf('large', [
      { tags: ['large:1'], layers: [[{ name: 'zeros', content: Buffer.alloc(100 * 1024 * 1024) }]] },
    ]);
    const quiet = await makeSite('28.5', { mountRoot: path.join(tree.path, 'not/there') });
    await quiet.attach(large.file);
    const [command, ...args] = agentCommand();
    const before = quiet.snapshot();
    const child = spawn(
      'script',
      [
        '--quiet',
        '--return',
        '--command',
        [
          'stty cols 200; exec',
          command,
          ...args,
          'verify',
          '--deep',
          '--config',
          path.join(quiet.folder, 'config.json'),
        ].join(' '),
        '/dev/null',
      ],
      { stdio: ['pipe', 'pipe', 'ignore'] },
    );
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (!said.includes(' % of ') && (said += chunk.toString()).includes(' % of ')) child.stdin.write('\u0003');
    });
    const [status] = (await once(child, 'exit')) as [number | null];
    assert.match(said, /\d+ % of 104\.9 MB, .*: disk \S+-large: layer/);
    assert.equal(status, 128 + 2, said);
    assert.deepEqual(quiet.snapshot(), before);
    assert.ok(!existsSync(path.join(tree.path, 'not/there')));
    assert.equal(mountsBelow(quiet), '');
  });

  it('says that it needs root', async () => {
    const [program, ...words] = [...withoutRoot, ...agentCommand(), 'verify'];
    const { exitCode, stderr } = await execa(program, words, { reject: false });
    assert.equal(exitCode, 1);
    assert.match(stderr, /^docker-preloader: only root may mount disks to look at them; run it with sudo$/);
  });
});
