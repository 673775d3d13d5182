import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent, agentCommand } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { authFileFor, startGuardedRegistry } from '../../support/guarded-registry.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { savedArchive, type ArchiveImage } from '../archive/archives.ts';
import { makeTar } from '../tar/make-tar.ts';

const image: ArchiveImage = {
  tags: ['one:1'],
  layers: [makeTar([{ name: 'one', content: 'one\n'.repeat(10_000) }]), makeTar([{ name: 'two', content: 'two' }])],
};

interface Told {
  readonly label: string;
  readonly digest: string;
  readonly pushed: string | null;
}

describe('a disk as an image of a registry', () => {
  let tree: TempTree;
  let open: Registry;
  let guarded: Registry;
  const at = (name: string): string => path.join(tree.path, name);
  const bytes = (name: string): Buffer => readFileSync(at(name));
  const sha256 = (content: Buffer): string => `sha256:${createHash('sha256').update(content).digest('hex')}`;
  const told = async (...args: readonly string[]): Promise<Told> => {
    const { exitCode, all, stdout } = await agent(['build', '--quiet', '--json', at('one.tar'), ...args]);
    assert.equal(exitCode, 0, all);
    return JSON.parse(stdout) as Told;
  };
  before(async () => {
    await ensureDebianPackages(['qemu-utils', 'skopeo', 'golang-github-containers-common', 'openssl'], {
      install: true,
    });
    tree = await tempTree('dpl-cdisk');
    for (const folder of ['open', 'guarded', 'out']) mkdirSync(at(folder));
    [open, guarded] = [await startRegistry(at('open')), await startGuardedRegistry(at('guarded'))];
    writeFileSync(at('one.tar'), savedArchive([image]));
    writeFileSync(at('auth.json'), authFileFor(guarded), { mode: 0o600 });
  });
  after(cleanUpAll);

  it('is an OCI archive with the disk alone in /disk, owned by 107, in the same bytes each time', async () => {
    const { label, digest } = await told('-o', at('a.tar'), '--format', 'containerdisk', '--compress');
    await told('-o', at('b.tar'), '--format', 'containerdisk', '--compress');
    assert.ok(bytes('a.tar').equals(bytes('b.tar')));
    await told('-o', at('disk.qcow2'), '--compress', '--label', label);
    await execa('skopeo', ['copy', '--preserve-digests', `oci-archive:${at('a.tar')}`, `dir:${at('unpacked')}`]);
    const manifest = JSON.parse(bytes('unpacked/manifest.json').toString()) as {
      config: { digest: string };
      layers: { digest: string; mediaType: string }[];
    };
    const [layer, ...more] = manifest.layers.map((one) => one.digest.slice('sha256:'.length));
    assert.deepEqual([more, manifest.layers[0]?.mediaType], [[], 'application/vnd.oci.image.layer.v1.tar']);
    const { stdout } = await execa('tar', [
      '--list',
      '--verbose',
      '--numeric-owner',
      '--file',
      at(`unpacked/${layer}`),
    ]);
    assert.match(
      stdout,
      new RegExp(`^dr-xr-xr-x 107/107 +0 .* disk/\n-r--r--r-- 107/107 +\\d+ .* disk/${label}\\.qcow2$`),
    );
    await execa('tar', ['--extract', '--file', at(`unpacked/${layer}`), '--directory', tree.path]);
    assert.ok(bytes(`disk/${label}.qcow2`).equals(bytes('disk.qcow2')));
    const config = JSON.parse(bytes(`unpacked/${manifest.config.digest.slice('sha256:'.length)}`).toString()) as {
      architecture: string;
      config: { Labels: Record<string, string> };
    };
    assert.equal(config.architecture, 'amd64');
    assert.deepEqual(config.config.Labels, {
      'docker-preloader.disk': sha256(bytes('disk.qcow2')),
      'docker-preloader.label': label,
      'docker-preloader.manifest': digest,
    });
  });

  it('goes to standard output, too', async () => {
    const { exitCode, stderr } = await agent([
      'build',
      '--quiet',
      at('one.tar'),
      '-o',
      '-',
      '--format',
      'containerdisk',
    ]);
    assert.match(stderr, /^standard output: label dpl-/);
    assert.equal(exitCode, 0);
  });

  for (const [name, registry, access] of [
    ['without TLS', (): Registry => open, ['--insecure']],
    ['with TLS and basic auth', (): Registry => guarded, ['--insecure', '--authfile', 'auth.json']],
  ] as const)
    it(`is pushed to a registry ${name}, and pulled from there byte for byte`, async () => {
      const options = access.map((word) => (word === 'auth.json' ? at(word) : word));
      const where = `docker://${registry().address}/disks/one:1`;
      const { pushed, digest, label } = await told('--push', where, ...options);
      assert.match(pushed ?? '', new RegExp(`^docker://${registry().address}/disks/one@sha256:[0-9a-f]{64}$`));
      await told('-o', at('there.qcow2'));
      for (const source of [where, pushed ?? '']) {
        const { exitCode, stdout, all } = await agent([
          'pull',
          source,
          '-o',
          at('out/here.qcow2'),
          '--json',
          ...options,
        ]);
        assert.equal(exitCode, 0, all);
        const found = JSON.parse(stdout) as Record<string, unknown>;
        assert.deepEqual(
          [found['from'], found['label'], found['manifest'], found['digest'], found['problems']],
          [pushed, label, digest, sha256(bytes('there.qcow2')), []],
        );
        assert.ok(bytes('out/here.qcow2').equals(bytes('there.qcow2')));
      }
      assert.deepEqual(readdirSync(at('out')), ['here.qcow2']);
    });

  it('is pushed and written at once', async () => {
    const where = `docker://${open.address}/disks/both:1`;
    const { pushed } = await told('-o', at('both.tar'), '--format', 'containerdisk', '--push', where, '--insecure');
    const { stdout } = await execa('skopeo', ['inspect', '--raw', `oci-archive:${at('both.tar')}`]);
    assert.ok(pushed?.endsWith(sha256(Buffer.from(stdout))));
  });

  it('is not pushed by a dry run, nor by who may not, and says so in one line without a password', async () => {
    const where = `docker://${guarded.address}/disks/never:1`;
    await told('--dry-run', '--push', where);
    writeFileSync(at('wrong.json'), authFileFor(guarded).replace(/"auth":"[^"]*"/, '"auth":"eDp5"'));
    for (const [options, says] of [
      [['--insecure'], /authentication required.*skopeo login/],
      [['--insecure', '--authfile', at('wrong.json')], /authentication required.*skopeo login/],
      [['--authfile', at('auth.json')], /x509: .*--insecure/],
    ] as const) {
      const { exitCode, stderr } = await agent(['build', '--quiet', at('one.tar'), '--push', where, ...options]);
      assert.match(stderr, says);
      assert.match(stderr, /^docker-preloader: docker:\/\/[^\n]+\n?$/);
      assert.equal(exitCode, 1);
    }
    const { stdout } = await execa('find', [at('guarded/storage'), '-name', 'never']);
    assert.equal(stdout, '');
  });

  it('waits for the registry in the folder that is removed, and leaves nothing where it is ended', async () => {
    let asked = (): void => undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const silent = createServer(asked).listen(0, '127.0.0.1');
    silent.unref();
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    mkdirSync(at('temporary'));
    const [command, ...first] = agentCommand();
    const where = `docker://127.0.0.1:${port}/disks/never:1`;
    const child = spawn(command, [...first, 'build', at('one.tar'), '--push', where, '--insecure'], {
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: at('temporary') },
    });
    const ended = once(child, 'exit');
    await isAsked;
    const [own = ''] = readdirSync(at('temporary'));
    const there = readdirSync(at(`temporary/${own}`));
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [null, 'SIGTERM']);
    // skopeo unpacks the archive there, and not in /var/tmp.
    assert.ok(
      there.some((name) => /^oci\d+$/.test(name)),
      there.join(),
    );
    assert.deepEqual(readdirSync(at('temporary')), []);
    silent.close();
  });

  it('is refused by a digest, which nobody knows before', async () => {
    const { exitCode, stderr } = await agent([
      'build',
      at('one.tar'),
      '--push',
      `docker://x/app@sha256:${'0'.repeat(64)}`,
    ]);
    assert.equal(exitCode, 2);
    assert.match(stderr, /--push: expected a name with a tag or none, found docker:\/\/x\/app@sha256:0/);
  });

  it('is pulled by a tag with a digest, as by the digest', async () => {
    const { pushed } = await told('--push', `docker://${open.address}/disks/tagged:1`, '--insecure');
    const [repository, digest] = pushed?.split('@') ?? [];
    const name = `${repository ?? ''}:other@${digest ?? ''}`;
    const { exitCode, all, stdout } = await agent([
      'pull',
      name,
      '-o',
      at('out/tagged.qcow2'),
      '--insecure',
      '--quiet',
      '--json',
    ]);
    assert.equal(exitCode, 0, all);
    assert.equal((JSON.parse(stdout) as { from: string }).from, pushed);
  });

  it('is refused without a registry', async () => {
    for (const name of ['oci:somewhere', 'docker://'])
      for (const args of [
        ['build', at('one.tar'), '--push', name],
        ['pull', name, '-o', at('out/no.qcow2')],
      ]) {
        const { exitCode, stderr } = await agent(args);
        assert.equal(exitCode, 2);
        assert.match(stderr, /expected the name of an image in a registry/);
      }
  });
});
