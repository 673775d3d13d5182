import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { withoutCredentials } from '../../../agent/text/without-credentials.ts';
import { agent, type AgentResult } from '../../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../../support/cleanup.ts';
import { dockerArchive } from '../../support/docker-archive.ts';
import { authFileFor, basicAuth, startGuardedRegistry } from '../../support/guarded-registry.ts';
import { imageTools, type ImageTools } from '../../support/image-tools.ts';
import type { Registry } from '../../support/registry.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';

/** Its password has what ends a part of an address. */
const user = { name: 'somebody', password: 'not/to@be:seen?7a1c#%2F' };
const other = { ...user, name: 'somebody-else' };
const secrets = [user.password, encodeURIComponent(user.password), basicAuth(user), basicAuth(other)];

/** What registries are used with, and where nothing secret may be: what is said, arguments of processes, and files. */
describe('the password of a registry', () => {
  let tree: TempTree;
  let tools: ImageTools;
  let registry: Registry;
  let where: string;
  /** The files that have it because the test has put it there. */
  let known: readonly string[];
  let arguments_: { readonly seen: () => readonly string[]; readonly end: () => void };
  const at = (name: string): string => path.join(tree.path, name);
  const access = (name: string): readonly string[] => ['--insecure', '--authfile', at(name)];
  const run = (...args: readonly string[]): Promise<AgentResult> =>
    agent(args, { ...tools.env, TMPDIR: at('temporary') });
  const isIn = (text: string): boolean => secrets.some((secret) => text.includes(secret));
  const nobodySees = ({ all }: AgentResult): void => assert.ok(!isIn(all), all);
  /** Files below the folder of the test that have it, whoever wrote them. */
  const found = async (): Promise<readonly string[]> => {
    const patterns = secrets.flatMap((secret) => ['-e', secret]);
    const { stdout } = await execa('grep', ['-rlaF', ...patterns, '.'], { cwd: tree.path, reject: false });
    return stdout.split('\n').toSorted();
  };

  before(async () => {
    tree = await tempTree('dpl-secrets');
    for (const folder of ['out', 'temporary']) mkdirSync(at(folder));
    tools = await imageTools(tree.path);
    registry = await startGuardedRegistry(at('registry'), user);
    where = `docker://${registry.address}`;
    writeFileSync(at('right.json'), authFileFor(registry, user), { mode: 0o600 });
    writeFileSync(at('wrong.json'), authFileFor(registry, other));
    writeFileSync(at('garbled.json'), `{"auths":{"${registry.address}":{"auth":"${user.password}"}}}`);
    writeFileSync(at('cut.json'), authFileFor(registry, user).slice(0, -3));
    writeFileSync(at('list'), `# ours\ndocker://${user.name}:${user.password}@${registry.address}/team/app:1=app:1\n`);
    known = ['./cut.json', './garbled.json', './list', './right.json', './wrong.json'];
    const layers = [[{ name: 'a', content: 'a\n'.repeat(100_000) }]];
    writeFileSync(at('app.tar'), await dockerArchive([{ tags: ['app:1'], layers }]));
    const to = ['--dest-tls-verify=false', `--dest-authfile=${at('right.json')}`];
    await tools.run('skopeo', ['copy', ...to, 'docker-archive:app.tar', `${where}/team/app:1`]);
    arguments_ = watchArguments();
  });
  afterEach(() => {
    for (const name of readdirSync(at('out'))) rmSync(at(`out/${name}`), { recursive: true });
  });
  after(cleanUpAll);

  it('is where the test has put it, and is found there', async () => {
    assert.deepEqual(await found(), known);
  });

  it('is nowhere else where images and disks come and go with it', async () => {
    const disk = at('out/disk.raw');
    for (const args of [
      ['build', `${where}/team/app:1`, '-o', disk, '--lock', at('out/lock'), ...access('right.json')],
      ['build', `${where}/team/app:1`, '-o', disk, '--lock', at('out/lock'), '--json', ...access('right.json')],
      ['build', `${where}/team/app:1`, '--push', `${where}/disks/app:1`, '--json', ...access('right.json')],
      ['pull', `${where}/disks/app:1`, '-o', at('out/pulled.qcow2'), '--json', ...access('right.json')],
      ['inspect', at('out/pulled.qcow2'), '--json'],
      ['attach', '--for', 'libvirt', at('out/pulled.qcow2')],
      ['export', at('out/pulled.qcow2'), `${where.slice('docker://'.length)}/team/app:1`, '-o', at('out/app.tar')],
    ]) {
      const result = await run(...args);
      assert.equal(result.exitCode, 0, result.all);
      nobodySees(result);
    }
    assert.deepEqual(readdirSync(at('out')).toSorted(), ['app.tar', 'disk.raw', 'lock', 'pulled.qcow2']);
    assert.deepEqual(readdirSync(at('temporary')), []);
    // Also what the registry has of the disk.
    assert.deepEqual(await found(), known);
  });

  for (const [what, file] of [
    ['is not the right one', 'wrong.json'],
    ['is no base64', 'garbled.json'],
    ['is cut off', 'cut.json'],
  ] as const)
    it(`is not told where a login with it fails because it ${what}`, async () => {
      for (const args of [
        ['build', `${where}/team/app:1`, '-o', at('out/disk.raw'), '--lock', at('out/lock')],
        ['build', at('app.tar'), '--push', `${where}/disks/app:1`, '--json'],
        ['pull', `${where}/disks/app:1`, '-o', at('out/pulled.qcow2'), '--json'],
      ]) {
        const result = await run(...args, ...access(file));
        assert.equal(result.exitCode, 1, result.all);
        assert.match(result.stderr, /^docker-preloader: docker:\/\/\S+: skopeo: /m);
        nobodySees(result);
      }
      assert.deepEqual([readdirSync(at('out')), readdirSync(at('temporary'))], [[], []]);
      assert.deepEqual(await found(), known);
    });

  it('is not told by a registry that answers with what it was asked', async () => {
    const server = createServer(({ headers: { authorization } }, response) => {
      response.writeHead(authorization === undefined ? 401 : 403, {
        'www-authenticate': 'Basic realm="x"',
        'content-type': 'application/json',
      });
      const message = `no: Authorization: ${authorization ?? 'none'}; http://${user.name}:${user.password}@127.0.0.1/`;
      response.end(JSON.stringify({ errors: [{ code: 'DENIED', message, detail: authorization }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUpLater('a registry that tells', () => void server.close());
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    writeFileSync(at('told.json'), authFileFor({ address }, user));
    for (const args of [
      ['build', `docker://${address}/x:1`, '-o', at('out/disk.raw')],
      ['build', at('app.tar'), '--push', `docker://${address}/x:1`],
      ['pull', `docker://${address}/x:1`, '-o', at('out/disk.qcow2')],
    ]) {
      const result = await run(...args, ...access('told.json'));
      assert.equal(result.exitCode, 1);
      assert.match(result.stderr, /skopeo login/);
      nobodySees(result);
    }
    rmSync(at('told.json'));
  });

  it('is not told where somebody has typed it into an address, whichever option that is for', async () => {
    const typed = `${user.name}:${user.password}@${registry.address}/team/app:1`;
    const [image, disk] = [`docker://${typed}`, at('out/disk.raw')];
    const seen: AgentResult[] = [];
    for (const args of [
      ...['https://', 'containers-storage://', 'Docker://'].flatMap((scheme) => [
        ['build', `${scheme}${typed}`, '-o', disk],
        ['pull', `${scheme}${typed}`, '-o', disk],
      ]),
      ['build', image, '-o', disk],
      ['build', `${image}=app:1`, '-o', disk, '--json', '--dry-run'],
      ['build', at('app.tar'), '--push', image],
      ['build', at('app.tar'), '-o', image],
      ['build', at('app.tar'), '-o', disk, '--base', image],
      ['build', at('app.tar'), '-o', disk, '--authfile', image],
      ['build', at('app.tar'), '-o', disk, '--lock', image],
      ['build', at('app.tar'), '-o', disk, '--tag', image],
      ['build', '--file', image, '-o', disk],
      ['build', '--file', at('list'), '--lock', at('out/lock'), '-o', disk],
      ['pull', image, '-o', disk],
      ['pull', `${where}/x:1`, '-o', image],
      ['inspect', image],
      ['diff', image, at('app.tar')],
      ['attach', '--for', 'qemu', image],
      ['export', image, 'app:1', '-o', at('out/app.tar')],
      [image],
    ])
      seen.push(await run(...args));
    for (const result of seen) {
      assert.notEqual(result.exitCode, 0, result.all);
      nobodySees(result);
    }
    assert.deepEqual([readdirSync(at('out')), readdirSync(at('temporary'))], [[], []]);
  });

  it('was among the arguments of no process meanwhile, but of ours where somebody has typed it there', () => {
    const lines = arguments_.seen();
    arguments_.end();
    assert.ok(
      lines.some((line) => line.includes('skopeo') && line.includes('--src-authfile')),
      lines.join('\n'),
    );
    assert.ok(lines.some((line) => line.includes('skopeo') && line.includes('--dest-authfile')));
    const ours = /^(?:grep|(?:\S*\/)?docker-preloader|\S*\/node|sh \S*\/bootstrap\.sh) /;
    assert.deepEqual(
      lines.filter((line) => isIn(line) && !ours.test(line)),
      [],
    );
  });
});

describe('a message', () => {
  for (const [message, expected] of [
    ['docker://me:secret@host/x:1: no', 'docker://host/x:1: no'],
    ["'https://me:a/b@c@host/x' and http://y@h/", "'https://host/x' and http://h/"],
    [`docker://host/x@sha256:${'0'.repeat(64)}: me@here`, `docker://host/x@sha256:${'0'.repeat(64)}: me@here`],
    ['/tmp/docker:/me:a/b@host/x: no', '/tmp/docker:/host/x: no'],
    ['/tmp/a@b: expected', '/tmp/a@b: expected'],
  ] as const)
    it(`has nobody's password in it: ${message}`, () => assert.equal(withoutCredentials(message), expected));
});

/** Looks at the arguments of all processes again and again. */
function watchArguments(): { readonly seen: () => readonly string[]; readonly end: () => void } {
  const seen = new Set<string>();
  const timer = setInterval(() => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
      } catch {
        // It has ended.
      }
    }
  }, 5);
  const end = (): void => clearInterval(timer);
  cleanUpLater('the watch of arguments', end);
  return { seen: () => [...seen], end };
}
