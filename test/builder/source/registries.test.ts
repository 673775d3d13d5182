import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Inspection } from '../../../agent/verify/inspect-disk.ts';
import { agent, agentCommand, type AgentResult } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { dockerArchive } from '../../support/docker-archive.ts';
import { digestOf } from '../../support/faulty-registry.ts';
import { startGuardedRegistry } from '../../support/guarded-registry.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { imageTools, newerSkopeo, type ImageTools } from '../../support/image-tools.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';

const user = { name: 'somebody', password: 'not-to-be-seen-7a1c' };

describe("images of Debian's docker-registry", () => {
  let tree: TempTree;
  let tools: ImageTools;
  let plain: Registry;
  let secret: Registry;
  const newer = new Map<string, string>();
  const skopeoOf = (suite: string): string => newer.get(suite) ?? assert.fail();
  const at = (name: string): string => path.join(tree.path, name);
  const build = (...args: readonly string[]): Promise<AgentResult> =>
    agent(['build', '-o', at('out/disk.qcow2'), ...args], tools.env);
  const built = async (...args: readonly string[]): Promise<Inspection> => {
    const { exitCode, all } = await build(...args);
    assert.equal(exitCode, 0, all);
    const inspected = await agent(['inspect', '--deep', '--json', at('out/disk.qcow2')]);
    assert.equal(inspected.exitCode, 0, inspected.all);
    rmSync(at('out/disk.qcow2'));
    return JSON.parse(inspected.stdout) as Inspection;
  };
  const names = ({ images }: Inspection): string[] => images.flatMap(({ references }) => references);
  const push = (from: string, to: string, ...args: readonly string[]): Promise<string> =>
    tools.run('skopeo', ['copy', '--dest-tls-verify=false', ...args, from, `docker://${plain.address}/${to}`]);
  /** The digest by which a registry has an image. */
  const digestIn = async (name: string): Promise<string> =>
    digestOf(Buffer.from(await tools.run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${name}`])));

  before(async () => {
    tree = await tempTree('dpl-registries');
    mkdirSync(at('out'));
    tools = await imageTools(tree.path);
    writeFileSync(
      at('app.tar'),
      await dockerArchive([
        { tags: ['app:1'], layers: [[{ name: 'a', content: randomBytes(4_000_000) }], [{ name: 'b', content: 'b' }]] },
      ]),
    );
    for (const suite of ['trixie', 'forky'] as const) newer.set(suite, await newerSkopeo(tree.path, suite));
    plain = await startRegistry(at('plain'));
    secret = await startGuardedRegistry(at('secret'), user);
    await push('docker-archive:app.tar', 'team/app:1');
    await push('docker-archive:app.tar', 'team/app:oci', '--format', 'oci');
  });
  after(cleanUpAll);

  it('are taken as they are: names, digests of both kinds of manifests, and layers', async () => {
    for (const tag of ['1', 'oci']) {
      const name = `${plain.address}/team/app`;
      const digest = await digestIn(`${name}:${tag}`);
      const found = await built('--insecure', `docker://${name}:${tag}`);
      assert.deepEqual(names(found).toSorted(), [`${name}:${tag}`, `${name}@${digest}`]);
      assert.equal(found.layers.length, 2);
      assert.deepEqual(names(await built('--insecure', `docker://${name}@${digest}`)), [`${name}@${digest}`]);
      assert.deepEqual(names(await built('--insecure', `docker://${name}:kept@${digest}`)).toSorted(), [
        `${name}:kept`,
        `${name}@${digest}`,
      ]);
      assert.deepEqual(names(await built('--insecure', `docker://${name}:${tag}=other:2`)).toSorted(), [
        'other:2',
        `other@${digest}`,
      ]);
    }
  });

  for (const suite of ['bookworm', 'trixie', 'forky'] as const)
    it(`come from an address of IPv6 by a name that leads there, since the skopeo of ${suite} takes none`, async () => {
      const six = await startRegistry(at(`v6-${suite}`), { listen: '[::1]:0' });
      const port = six.address.slice(six.address.lastIndexOf(':') + 1);
      writeFileSync(at('hosts'), `${readFileSync('/etc/hosts', 'utf8')}::1 six.example\n`);
      const PATH = suite === 'bookworm' ? tools.env.PATH : `${skopeoOf(suite)}:${tools.env.PATH}`;
      const env = { ...tools.env, PATH };
      const hosts = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
      const there = async (...args: readonly string[]): Promise<void> => {
        const within = ['--mount', '--propagation', 'private', 'sh', '-ec', hosts, 'sh', at('hosts'), ...args];
        await execa('unshare', within, { env, cwd: tree.path });
      };
      const name = `docker://six.example:${port}/app:1`;
      await there('skopeo', 'copy', '--quiet', '--dest-tls-verify=false', 'docker-archive:app.tar', name);
      await there(...agentCommand(), 'build', '--quiet', '--insecure', name, '-o', at('out/disk.qcow2'));
      rmSync(at('out/disk.qcow2'));
      const number = await agent(
        ['build', '--insecure', `docker://${six.address}/app:1`, '-o', at('out/no.qcow2')],
        env,
      );
      assert.equal(number.exitCode, 1);
      assert.match(number.stderr, /: skopeo: invalid reference format: skopeo takes no addresses of IPv6, but names /);
      await six.stop();
    });

  for (const suite of ['trixie', 'forky'] as const)
    it(`are the same by the skopeo of ${suite}`, async () => {
      const older = await built('--insecure', `docker://${plain.address}/team/app:1`);
      const PATH = `${skopeoOf(suite)}:${tools.env.PATH}`;
      const args = ['build', '--insecure', `docker://${plain.address}/team/app:1`, '-o', at('out/disk.qcow2')];
      const { exitCode, all } = await agent(args, { ...tools.env, PATH });
      assert.equal(exitCode, 0, all);
      const { stdout } = await agent(['inspect', '--json', at('out/disk.qcow2')]);
      rmSync(at('out/disk.qcow2'));
      assert.deepEqual((JSON.parse(stdout) as Inspection).manifest, older.manifest);
    });

  it('of a digest that the registry has not, or of a name that it has not, are refused in one line', async () => {
    for (const name of ['team/app:none', 'none:1', `team/app@sha256:${'0'.repeat(64)}`]) {
      const { exitCode, stderr } = await build('--quiet', '--insecure', `docker://${plain.address}/${name}`);
      assert.equal(exitCode, 1);
      assert.match(stderr, /^docker-preloader: docker:\/\/\S+: skopeo: .*: the registry has no such image$/);
      assert.deepEqual(readdirSync(at('out')), []);
    }
  });

  it('need --insecure without TLS, and the line says so', async () => {
    const { exitCode, stderr } = await build('--quiet', `docker://${plain.address}/team/app:1`);
    assert.equal(exitCode, 1);
    assert.match(stderr, /^docker-preloader: [^\n]*: the registry has no TLS: --insecure takes it so$/);
  });

  it('come over TLS with a password', async () => {
    const name = `docker://${secret.address}/team/app:1`;
    const login = ['login', '--tls-verify=false', '--authfile', at('auth.json'), '--username', user.name];
    await tools.run('skopeo', [...login, '--password-stdin', secret.address], user.password);
    await tools.run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      `--dest-authfile=${at('auth.json')}`,
      'docker-archive:app.tar',
      name,
    ]);
    const unknown = await build('--quiet', name, '--authfile', at('auth.json'));
    assert.equal(unknown.exitCode, 1);
    assert.match(unknown.stderr, /x509: .*: put the certificate into \/etc\/containers\/certs\.d\/HOST\/ca\.crt/);
    const trusted = path.join(tools.env.HOME, '.config/containers/certs.d', secret.address);
    mkdirSync(trusted, { recursive: true });
    writeFileSync(path.join(trusted, 'ca.crt'), readFileSync(at('secret/certificate.pem')));
    const stranger = await build('--quiet', name);
    assert.equal(stranger.exitCode, 1);
    assert.match(
      stranger.stderr,
      /^docker-preloader: [^\n]*: log in with skopeo login, or name a file of that [^\n]*$/,
    );

    // skopeo runs in another folder.
    const file = path.relative(process.cwd(), at('auth.json'));
    const relative = await agent(['build', name, '--dry-run'], { ...tools.env, REGISTRY_AUTH_FILE: file });
    assert.equal(relative.exitCode, 0, relative.all);

    const result = await build(name, '--authfile', at('auth.json'));
    assert.equal(result.exitCode, 0, result.all);
    assert.deepEqual(readdirSync(at('out')), ['disk.qcow2']);
    rmSync(at('out/disk.qcow2'));
  });

  it('that buildah and podman pushed, and layouts of umoci, are taken', async () => {
    const own = ['--storage-driver', 'vfs', '--root', at('storage'), '--runroot', at('run')];
    mkdirSync(at('content'));
    writeFileSync(at('content/file'), 'made\n');
    const container = await tools.run('buildah', [...own, 'from', 'scratch']);
    await tools.run('buildah', [...own, 'add', container, at('content'), '/made']);
    await tools.run('buildah', [...own, 'commit', container, 'localhost/by-buildah:1']);
    const to = (name: string): string => `docker://${plain.address}/${name}`;
    await tools.run('buildah', [...own, 'push', '--tls-verify=false', 'localhost/by-buildah:1', to('by-buildah:1')]);
    await tools.run('podman', [...own, 'load', '--quiet', '--input', at('app.tar')]);
    await tools.run('podman', [...own, 'push', '--quiet', '--tls-verify=false', 'app:1', to('by-podman:1')]);
    await tools.run('umoci', ['init', '--layout', at('umoci')]);
    await tools.run('umoci', ['new', '--image', `${at('umoci')}:v1`]);
    await tools.run('umoci', ['insert', '--image', `${at('umoci')}:v1`, at('content/file'), '/file']);
    const found = await built(
      '--insecure',
      to('by-buildah:1'),
      to('by-podman:1'),
      `oci:${at('umoci')}:v1=by-umoci:1`,
      `docker-archive:${at('app.tar')}:docker.io/library/app:1`,
      `containers-storage:[vfs@${at('storage')}+${at('run')}]localhost/by-buildah:1`,
    );
    assert.deepEqual(
      names(found)
        .filter((name) => !name.includes('@'))
        .toSorted(),
      [
        `${plain.address}/by-buildah:1`,
        `${plain.address}/by-podman:1`,
        'app:1',
        'by-umoci:1',
        'localhost/by-buildah:1',
      ].toSorted(),
    );
    // One image came by three ways, another by two.
    assert.equal(found.images.length, 3);
  });

  it('are held to a lock: a tag that has moved is not followed', async () => {
    const name = `docker://${plain.address}/moving:1`;
    await push('docker-archive:app.tar', 'moving:1');
    const before = await digestIn(`${plain.address}/moving:1`);
    writeFileSync(at('list'), `# all that we need\n\n${name}  # the app\n${at('app.tar')}=local:1\n`);
    const args = ['--insecure', '--file', at('list'), '--lock', at('images.lock')];
    const first = await built(...args);
    const lock = readFileSync(at('images.lock'), 'utf8');
    assert.ok(lock.includes(before), lock);
    await push(`docker://${plain.address}/team/app:oci`, 'moving:1', '--src-tls-verify=false');
    assert.notEqual(await digestIn(`${plain.address}/moving:1`), before);
    const second = await built(...args);
    assert.deepEqual(second.manifest, first.manifest);
    assert.equal(readFileSync(at('images.lock'), 'utf8'), lock);

    const more = await build(...args, '--quiet', `docker://${plain.address}/team/app:1`);
    assert.equal(more.exitCode, 1);
    assert.match(more.stderr, /images\.lock: expected the source docker:\S+, found none: remove the file [^\n]*$/);
    writeFileSync(
      at('app.tar'),
      await dockerArchive([{ tags: ['app:1'], layers: [[{ name: 'other', content: '' }]] }]),
    );
    const changed = await build(...args, '--quiet');
    assert.equal(changed.exitCode, 1);
    assert.match(
      changed.stderr,
      /app\.tar: expected sha256:\w{64}, as in \S+images\.lock, found sha256:\w{64}: [^\n]*$/,
    );
    assert.deepEqual(readdirSync(at('out')), []);
  });
});
