import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { parseArchiveArgument } from '../../../agent/builder/archive/archive-argument.ts';
import { machinePlatform } from '../../../agent/builder/archive/platform.ts';
import { SourceFetcher } from '../../../agent/builder/source/fetch-sources.ts';
import { makeWorkplace } from '../../../agent/builder/workplace.ts';
import type { Inspection } from '../../../agent/verify/inspect-disk.ts';
import { agent, agentCommand, type AgentResult } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { FaultyRegistry, type Fault } from '../../support/faulty-registry.ts';
import { imageTools, type ImageTools } from '../../support/image-tools.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { until } from '../../support/until.ts';

type Choose = FaultyRegistry['fault'];

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

describe('images of a registry that does what it wants', () => {
  const registry = new FaultyRegistry();
  const large = [{ name: 'large', content: randomBytes(2_000_000) }];
  let tree: TempTree;
  let tools: ImageTools;
  /** The blobs of app:1, and of one layer more, app:2. */
  let layers: readonly string[] = [];
  let more: readonly string[] = [];
  const at = (name: string): string => path.join(tree.path, name);
  const source = (name: string): string => `docker://${registry.address}/${name}`;
  const build = (...args: readonly string[]): Promise<AgentResult> =>
    agent(['build', '--insecure', '-o', at('out/disk.raw'), ...args], tools.env);
  const noDisk = (): void => assert.deepEqual(readdirSync(at('out')), []);
  const onBlob =
    (fault: Fault, times = Infinity): Choose =>
    (asked, attempt) =>
      asked.endsWith(`/blobs/${layers[0] ?? ''}`) && attempt < times ? fault : undefined;
  const onManifest =
    (fault: Fault, times = Infinity, where = '/manifests/'): Choose =>
    (asked, attempt) =>
      asked.includes(where) && attempt < times ? fault : undefined;

  before(async () => {
    tree = await tempTree('dpl-faulty');
    mkdirSync(at('out'));
    tools = await imageTools(tree.path);
    await registry.start();
    const two = [large, [{ name: 'small', content: randomBytes(50_000) }]];
    ({ layers } = await registry.add({ repository: 'app', tag: '1', layers: two }));
    const another = [{ name: 'another', content: randomBytes(300_000) }];
    ({ layers: more } = await registry.add({
      repository: 'app',
      tag: '2',
      layers: [...two, another],
      mediaTypes: 'oci',
    }));
  });
  afterEach(() => {
    registry.fault = () => undefined;
    registry.asked.length = 0;
    registry.layerBytes = 0;
    for (const name of readdirSync(at('out'))) rmSync(at(`out/${name}`), { recursive: true });
  });
  after(cleanUpAll);

  for (const [what, choose] of [
    ['the connection is cut', onBlob({ kind: 'cut', afterBytes: 700_000 }, 1)],
    ['the connection is cut twice', onBlob({ kind: 'cut', afterBytes: 10 }, 2)],
    ['it answers 500', onBlob({ kind: 'status', status: 500 }, 1)],
    ['it answers 503 at once', onManifest({ kind: 'status', status: 503 }, 1)],
    ['it answers 429', onBlob({ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, 1)],
    ['it sends a wrong byte', onBlob({ kind: 'wrong' }, 1)],
    ['it sends a wrong manifest', onManifest({ kind: 'wrong' }, 1, '/manifests/sha256:')],
  ] as const)
    it(`are taken the next time where ${what}`, async () => {
      registry.fault = choose;
      const { exitCode, all } = await build(source('app:1'));
      assert.equal(exitCode, 0, all);
      assert.equal((await agent(['inspect', '--deep', at('out/disk.raw')])).exitCode, 0);
    });

  for (const [what, choose, line] of [
    [
      'cuts each connection',
      onBlob({ kind: 'cut', afterBytes: 1000 }),
      /: skopeo: unexpected EOF: the connection was cut off$/,
    ],
    ['answers 503', onBlob({ kind: 'status', status: 503 }), /503 .*: the registry has a fault of its own$/],
    [
      'answers 429',
      onManifest({ kind: 'status', status: 429, headers: { 'retry-after': '0' } }),
      /429: the registry takes no more for now: try again later, or log in$/,
    ],
    [
      'answers 401',
      onManifest({ kind: 'status', status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }),
      /: log in with skopeo login, or name a file of that with --authfile$/,
    ],
    [
      'answers 403',
      onManifest({ kind: 'status', status: 403 }),
      /: log in with skopeo login, or name a file of that with --authfile$/,
    ],
    [
      'sends a wrong layer',
      onBlob({ kind: 'wrong' }),
      /Digest did not match, expected \S+, got \S+: the registry, or something on the way, has changed it$/,
    ],
    [
      'sends a layer without end',
      onBlob({ kind: 'endless' }),
      /: expected a layer of at most \d{7} bytes, found more$/,
    ],
  ] as const)
    it(`are refused in one line where it ${what}`, async () => {
      registry.fault = choose;
      const { exitCode, stderr } = await build('--quiet', source('app:1'));
      assert.equal(exitCode, 1);
      assert.match(stderr, /^docker-preloader: docker:[^\n]*$/);
      assert.match(stderr, line);
      assert.ok(registry.layerBytes < 200_000_000);
      noDisk();
    });

  for (const [what, text, line] of [
    ['nothing', '', /./],
    ['text', 'no manifest', /expected the manifest of an image, found something else$/],
    [
      'schema 1',
      '{"schemaVersion":1,"fsLayers":[]}',
      /expected a manifest of schema 2, found schema 1, of before 2016: [^\n]*$/,
    ],
    [
      'a manifest of something else',
      `{"schemaVersion":2,"mediaType":"${OCI_MANIFEST}","config":{"mediaType":"text/plain","digest":"sha256:${'0'.repeat(64)}","size":1},"layers":[]}`,
      /expected an image configuration, found the media type 'text\/plain'$/,
    ],
    [
      'one whose configuration it has not',
      `{"schemaVersion":2,"mediaType":"${OCI_MANIFEST}","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:${'0'.repeat(64)}","size":1},"layers":[]}`,
      /the registry has no such image$/,
    ],
  ] as const)
    it(`are refused in one line where its manifest is ${what}`, async () => {
      registry.addManifest('hostile:1', Buffer.from(text), OCI_MANIFEST);
      const { exitCode, stderr } = await build('--quiet', source('hostile:1'));
      assert.equal(exitCode, 1);
      assert.match(stderr, /^docker-preloader: docker:[^\n]*$/);
      assert.match(stderr, line);
      noDisk();
    });

  it('come at the speed that it has: 5 MB/s', async () => {
    const sizeBytes = 15_000_000;
    const content = randomBytes(sizeBytes);
    const { layers: blobs } = await registry.add({ repository: 'slow', tag: '1', layers: [[{ name: 'a', content }]] });
    let began = 0;
    registry.fault = (asked) => {
      if (!asked.endsWith(`/blobs/${blobs[0] ?? ''}`)) return undefined;
      began = performance.now();
      return { kind: 'slow', bytesPerSec: 5_000_000 };
    };
    const { exitCode, all } = await build(source('slow:1'));
    assert.equal(exitCode, 0, all);
    const tookMs = performance.now() - began;
    assert.ok(tookMs > sizeBytes / 5000, `${tookMs} ms`);
    assert.ok(registry.layerBytes >= sizeBytes, `${registry.layerBytes} bytes`);
    assert.match(all, /^fetching 1 layer of docker:\S+, 15\.0 MB$/m);
    assert.doesNotMatch(all, /waiting for the registry|trying again/);
    assert.equal((await agent(['inspect', '--deep', at('out/disk.raw')])).exitCode, 0);
  });

  it('come without the layers that a base disk has, and each layer once', async () => {
    const base = await agent(['build', '--insecure', source('app:1'), '-o', at('base.qcow2')], tools.env);
    assert.equal(base.exitCode, 0, base.all);
    const whole = registry.layerBytes;
    registry.layerBytes = 0;
    const { exitCode, all } = await build('--base', at('base.qcow2'), source('app:2'), source('app:2=copy:1'));
    assert.equal(exitCode, 0, all);
    const found = JSON.parse((await agent(['inspect', '--json', at('out/disk.raw')])).stdout) as Inspection;
    assert.equal(found.layers.length, 1);
    assert.ok(found.images[0]?.references.includes('copy:1'));
    assert.ok(registry.asked.some((one) => one.endsWith(more[2] ?? 'none')));
    assert.equal(registry.asked.filter((one) => one.endsWith('/manifests/2')).length, 1);
    assert.ok(registry.layerBytes < 310_000 && registry.layerBytes > 300_000, `${registry.layerBytes} of ${whole}`);

    registry.layerBytes = 0;
    const both = await build(source('app:1'), source('app:2'));
    assert.equal(both.exitCode, 0, both.all);
    assert.equal(registry.layerBytes, whole + found.blobs.bytes);
    assert.equal(found.blobs.count, 1);
  });

  it("are refused by skopeo's policy, also where a base disk has all of their layers", async () => {
    const base = await agent(['build', '--insecure', source('app:1'), '-o', at('all.qcow2')], tools.env);
    assert.equal(base.exitCode, 0, base.all);
    const policy = path.join(tools.env.HOME, '.config/containers/policy.json');
    const before = readFileSync(policy);
    writeFileSync(policy, '{"default":[{"type":"reject"}]}');
    try {
      const { exitCode, stderr } = await build('--quiet', '--base', at('all.qcow2'), source('app:1'));
      assert.equal(exitCode, 1);
      assert.match(stderr, /^docker-preloader: [^\n]* is rejected by policy\.$/);
      noDisk();
    } finally {
      writeFileSync(policy, before);
    }
  });

  it('are not looked for in an index without end', async () => {
    const manifests: { readonly digest: string }[] = [];
    for (let number = 0; number < 30; number += 1) {
      const tag = String(number);
      const { manifest } = await registry.add({
        repository: 'many',
        tag,
        layers: [[{ name: tag }]],
        mediaTypes: 'oci',
      });
      manifests.push({ digest: manifest });
    }
    registry.addIndex('many:index', manifests);
    const { exitCode, stderr } = await build('--quiet', source('many:index'));
    assert.equal(exitCode, 1);
    assert.match(stderr, /: expected at most 40 manifests and configurations, found more$/);
    noDisk();
  });

  it('are those for the platform, and keep the digest of their index', async () => {
    const arm = await registry.add({
      repository: 'both',
      tag: 'arm',
      layers: [large],
      mediaTypes: 'oci',
      architecture: 'arm64',
    });
    const amd = await registry.add({ repository: 'both', tag: 'amd', layers: [large], mediaTypes: 'oci' });
    const index = registry.addIndex('both:1', [
      { digest: arm.manifest, architecture: 'arm64' },
      { digest: amd.manifest, architecture: 'amd64' },
    ]);
    for (const [platform, manifest] of [
      ['linux/arm64', arm.manifest],
      ['linux/amd64', amd.manifest],
    ] as const) {
      registry.asked.length = 0;
      const { exitCode, all } = await build('--platform', platform, source('both:1'));
      assert.equal(exitCode, 0, all);
      const { stdout } = await agent(['inspect', '--json', at('out/disk.raw')]);
      assert.ok(stdout.includes(`/both@${index}"`), stdout);
      assert.ok(registry.asked.some((one) => one.endsWith(manifest)));
    }
    const none = await build('--platform', 'linux/s390x', '--quiet', source('both:1'));
    assert.equal(none.exitCode, 1);
    assert.match(
      none.stderr,
      /expected an image for linux\/s390x, found linux\/arm64, linux\/amd64: choose with --platform$/,
    );
  });

  it('are those for the platform, also in an index of indexes that name no platform', async () => {
    const made = await Promise.all(
      ['arm64', '386', 'amd64'].map(async (architecture) => {
        const image = { repository: 'deep', tag: architecture, layers: [[{ name: architecture }]], architecture };
        const { manifest } = await registry.add({ ...image, mediaTypes: 'oci' });
        return { manifest, index: registry.addIndex(`deep:index-${architecture}`, [{ digest: manifest }]) };
      }),
    );
    registry.addIndex(
      'deep:1',
      made.map(({ index }) => ({ digest: index })),
    );
    const [arm, i386, amd] = made.map(({ manifest }) => manifest);
    for (const [args, manifest] of [
      [['--platform', 'linux/arm64'], arm],
      [['--platform', 'linux/386'], i386],
      [['--platform', 'linux/amd64'], amd],
      [[], { x64: amd, arm64: arm, ia32: i386 }[String(process.arch)]],
    ] as const) {
      const { exitCode, all } = await build(...args, source('deep:1'));
      assert.equal(exitCode, 0, all);
      const { stdout } = await agent(['inspect', '--json', at('out/disk.raw')]);
      assert.ok(stdout.includes(`/deep@${manifest ?? ''}"`), stdout);
    }
    const none = await build('--platform', 'linux/s390x', '--quiet', source('deep:1'));
    assert.match(none.stderr, /expected an image for linux\/s390x, found linux\/arm64, linux\/386, linux\/amd64: /);
  });

  it('are refused in one line where a layer is smaller than its manifest says', async () => {
    const { manifest } = await registry.add({ repository: 'short', tag: '1', layers: [large], mediaTypes: 'oci' });
    const reply = await fetch(`http://${registry.address}/v2/short/manifests/${manifest}`);
    const said = (await reply.text()).replace(
      /("layers":.*"size":)(\d+)/,
      (_, key: string, size: string) => key + size + '0',
    );
    registry.addManifest('short:2', Buffer.from(said), OCI_MANIFEST);
    const { exitCode, stderr } = await build('--quiet', source('short:2'));
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /^docker-preloader: docker:\S+: expected a layer of \d+ bytes, as in its manifest, found \d+$/,
    );
    noDisk();
  });

  for (const [mediaTypes, compression] of [
    ['docker', 'none'],
    ['oci', 'none'],
    ['oci', 'zstd'],
  ] as const)
    it(`keep their digests: layers of ${mediaTypes}, compressed with ${compression}`, async () => {
      const { manifest, layers: blobs } = await registry.add({
        repository: 'kept',
        tag: '1',
        layers: [large],
        mediaTypes,
        compression,
      });
      const { exitCode, all } = await build('--filesystem', 'erofs', source('kept:1'));
      assert.equal(exitCode, 0, all);
      const { stdout } = await agent(['inspect', '--deep', '--json', at('out/disk.raw')]);
      const found = JSON.parse(stdout) as Inspection;
      assert.ok(found.images[0]?.references.includes(`${registry.address}/kept@${manifest}`), stdout);
      assert.equal(found.blobs.count, blobs.length);
    });

  it('are asked for again where it goes silent', async () => {
    registry.fault = onBlob({ kind: 'stall', afterBytes: 100_000 }, 1);
    const told: string[] = [];
    const workplace = makeWorkplace(at('out/disk.raw'));
    const argument = parseArchiveArgument(source('app:1'));
    const options = {
      archives: [argument],
      choice: { platform: machinePlatform(), asked: false },
      access: { authFile: undefined, insecure: true },
      bases: [],
    };
    const limits = { silenceMs: 1500, takenMs: 1500 };
    const before = { ...process.env };
    Object.assign(process.env, tools.env);
    try {
      const progress = {
        expect: () => {},
        step: (text: string) => void told.push(text),
        read: () => {},
        end: () => {},
      };
      const fetched = await new SourceFetcher(options, workplace, progress, limits).fetch();
      assert.equal(fetched.get(argument.path)?.archive.sizeOf(`blobs/sha256/${layers[0]?.slice(7) ?? ''}`) !== 0, true);
      assert.ok(
        told.some((line) =>
          /^trying again in 1 s: \S+: expected the registry to go on, found that nothing was sent or taken for 1\.5 s$/.test(
            line,
          ),
        ),
        told.join('\n'),
      );
    } finally {
      Object.assign(process.env, before);
      workplace.remove();
    }
    noDisk();
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const)
    it(`leave no skopeo behind where ${signal} ends the build${signal === 'SIGKILL' ? '' : ', and no file'}`, async () => {
      registry.fault = onBlob({ kind: 'slow', bytesPerSec: 100_000 });
      const [command, ...first] = agentCommand();
      const args = [...first, 'build', '--insecure', source('app:1'), '-o', at('out/disk.raw')];
      const child = spawn(command, args, { stdio: 'ignore', env: { ...process.env, ...tools.env } });
      await until('a copy', () => registry.layerBytes > 50_000 && copiesOf(registry.address).length > 0);
      assert.equal(readdirSync(at('out')).length, 1);
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [null, signal]);
      await until('the end of the copy', () => copiesOf(registry.address).length === 0);
      if (signal !== 'SIGKILL') noDisk();
    });

  it('that find no room are refused in one line', async (t) => {
    mkdirSync(at('little'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('little')]);
    t.after(() => void execFileSync('umount', [at('little')]));
    const { exitCode, stderr } = await agent(
      ['build', '--quiet', '--insecure', source('app:1'), '-o', at('little/disk.raw')],
      tools.env,
    );
    assert.equal(exitCode, 1);
    assert.match(stderr, /^docker-preloader: \S+: expected room for the disk beside it, found the filesystem full$/);
    assert.deepEqual(readdirSync(at('little')), []);
  });

  it('need skopeo, and the line says where it is', async () => {
    const { exitCode, all } = await agent(['build', '--insecure', source('app:1'), '-o', at('out/disk.raw')], {
      PATH: at('home'),
    });
    assert.equal(exitCode, 1);
    assert.match(all, /^docker-preloader: expected the program 'skopeo', found none: install the package skopeo$/);
    noDisk();
  });

  it('let nobody else send what is to come', async () => {
    registry.fault = onBlob({ kind: 'slow', bytesPerSec: 1_000_000 });
    const result = build(source('app:1'));
    await until('a copy', () => copiesOf(registry.address).length > 0 && registry.layerBytes > 0);
    const to = /docker:\/\/(127\.0\.0\.1:\d+)\/build/.exec(copiesOf(registry.address)[0] ?? '')?.[1] ?? '';
    const file = /--dest-authfile=(\S+)/.exec(copiesOf(registry.address)[0] ?? '')?.[1] ?? '';
    assert.equal(statSync(file).mode & 0o777, 0o600);
    for (const [method, asked] of [
      ['GET', '/v2/'],
      ['POST', '/v2/build/blobs/uploads/'],
      ['HEAD', `/v2/build/blobs/${layers[0] ?? ''}`],
    ] as const)
      assert.equal((await fetch(`http://${to}${asked}`, { method })).status, 401, method);
    assert.equal((await result).exitCode, 0);
  });
});

/** The command lines of skopeo that copy from a registry. */
function copiesOf(address: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return /skopeo \S* ?copy /.test(line) && line.includes(address) ? [line] : [];
      } catch {
        return [];
      }
    });
}
