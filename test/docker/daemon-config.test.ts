import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { readDaemonConfig, type DaemonConfig } from '../../agent/docker/daemon-config.ts';
import {
  environmentFiles,
  parseEnvironment,
  parseEnvironmentFile,
  parseExecStart,
  storeOfService,
} from '../../agent/docker/service.ts';
import { unsupportedStore } from '../../agent/overlay2/store-choice.ts';
import { parseShow } from '../../agent/system/systemctl.ts';
import { makeScratch, removeScratch, scratch } from '../support/scratch.ts';

const defaults: DaemonConfig = {
  dataRoot: '/var/lib/docker',
  storageDriver: undefined,
  usernsRemap: undefined,
  containerdStore: undefined,
  hosts: [],
};

async function readText(text: string | Buffer): Promise<DaemonConfig> {
  const folder = makeScratch();
  try {
    writeFileSync(path.join(folder, 'daemon.json'), text);
    return await readDaemonConfig(path.join(folder, 'daemon.json'));
  } finally {
    removeScratch(folder);
  }
}

describe('daemon.json', () => {
  for (const [text, expected] of [
    ['{}', {}],
    ['', {}],
    [' \n', {}],
    ['\uFEFF{"data-root":"/data"}', { dataRoot: '/data' }],
    ['{"data-root":"/data/docker/"}', { dataRoot: '/data/docker' }],
    ['{"data-root":"//"}', { dataRoot: '/' }],
    ['{"data-root":"/"}', { dataRoot: '/' }],
    ['{"data-root":""}', {}],
    ['{"graph":"/old"}', { dataRoot: '/old' }],
    ['{"storage-driver":"overlay2"}', { storageDriver: 'overlay2' }],
    ['{"storage-driver":""}', {}],
    ['{"userns-remap":"default"}', { usernsRemap: 'default' }],
    ['{"hosts":["fd://","unix:///d.sock"]}', { hosts: ['fd://', 'unix:///d.sock'] }],
    ['{"hosts":[null]}', { hosts: [''] }],
    ['{"hosts":null}', {}],
    ['{"features":{"containerd-snapshotter":true}}', { containerdStore: true }],
    ['{"features":{"containerd-snapshotter":false,"other":true}}', { containerdStore: false }],
    ['{"features":{}}', {}],
    ['null', {}],
    ['{"data-root":null,"graph":null,"storage-driver":null,"userns-remap":null,"features":null,"exec-opts":null}', {}],
    ['{"features":{"containerd-snapshotter":null}}', { containerdStore: false }],
    ['{"data-root":"/a","data-root":"/b"}', { dataRoot: '/b' }],
    ['{"data-root":"/a","data-root":null}', { dataRoot: '/a' }],
    ['{"data-root":"/a","data-root":""}', {}],
    ['{"graph":"/a","data-root":""}', { dataRoot: '/a' }],
    ['{"features":{"containerd-snapshotter":true},"features":{"buildkit":true}}', { containerdStore: true }],
    ['{"features":{"containerd-snapshotter":true},"features":null}', {}],
    [
      '{"x":{"data-root":"/x"},"labels":["data-root", {"userns-remap":"y"}, "a\\"b:{"],"data-root":"/a"}',
      { dataRoot: '/a' },
    ],
    ['\u00A0\u0085{"data-root":"/a"}\u2003\n', { dataRoot: '/a' }],
    ['\uFEFF \n', {}],
    ['{"data-root":"/a"} // of 20.10', { dataRoot: '/a' }],
    ['{"data-root":"/a"}}', { dataRoot: '/a' }],
    ['{"log-driver":"journald","storage-opts":["x"],"__proto__":{"data-root":"/evil"}}', {}],
  ] as const) {
    it(`${JSON.stringify(text)} is taken`, async () =>
      assert.deepEqual(await readText(text), { ...defaults, ...expected }));
  }

  for (const [encoding, encode] of [
    ['UTF-16', (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le')],
    ['UTF-16, big end first', (text: string) => Buffer.from(`\uFEFF${text}`, 'utf16le').swap16()],
    ['UTF-8 with a mark', (text: string) => Buffer.from(`\uFEFF${text}`)],
  ] as const) {
    it(`in ${encoding} is taken`, async () => {
      assert.deepEqual(await readText(encode('{"data-root":"/srv/dockér","storage-driver":"vfs"}\n')), {
        ...defaults,
        dataRoot: '/srv/dockér',
        storageDriver: 'vfs',
      });
      assert.deepEqual(await readText(encode('')), defaults);
    });
  }

  it('in UTF-16 that is cut off, or without its mark, is refused', async () => {
    const bytes = Buffer.from('\uFEFF{"data-root":"/a"}', 'utf16le');
    await assert.rejects(readText(bytes.subarray(0, -1)), {
      code: 'DOCKER_CONFIG_INVALID',
      message: /UTF-16, .* of an even number of bytes expected, found 37: the store is left alone$/,
    });
    await assert.rejects(readText(bytes.subarray(2)), { code: 'DOCKER_CONFIG_INVALID' });
  });

  it("that is not there means dockerd's defaults", async (t) =>
    assert.deepEqual(await readDaemonConfig(path.join(scratch(t), 'none.json')), defaults));

  for (const [text, says] of [
    ['{', /daemon\.json: .*JSON.*: the store is left alone$/],
    ['[]', /expected object, found \[\]: the store is left alone$/],
    ['{"data-root":7}', /`data-root`: expected string, found 7: the store is left alone$/],
    ['{"data-root":"relative"}', /`data-root`: an absolute path expected, found "relative"/],
    ['{"storage-driver":["overlay2"]}', /`storage-driver`: expected string, found \["overlay2"\]/],
    ['{"features":true}', /`features`: expected object, found true/],
    [
      '{"features":{"containerd-snapshotter":"yes"}}',
      /`features\.containerd-snapshotter`: expected boolean, found "yes"/,
    ],
    ['{"data-root":"/x" // comment\n}', /JSON/],
    [
      '{"Data-Root":"/x"}',
      /`Data-Root`: the key `data-root` expected, in lower case, as dockerd wants it: the store is left alone$/,
    ],
    ['{"features":{},"FEATURES":{"containerd-snapshotter":true}}', /`FEATURES`: the key `features` expected/],
    ['{"data-root":"/x","graph":"/y"}', /`graph`: expected none beside `data-root`/],
  ] as const) {
    it(`${JSON.stringify(text)} is refused in one line, with the key`, () =>
      assert.rejects(readText(text), { code: 'DOCKER_CONFIG_INVALID', message: says }));
  }

  it('is read or refused by name, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
          fc.json().map((json) => Buffer.from(`\uFEFF${json}`, 'utf16le')),
        ),
        async (text) => {
          try {
            assert.ok(path.isAbsolute((await readText(text)).dataRoot));
          } catch (error) {
            assert.ok(error instanceof Error && 'code' in error);
            assert.equal(error.code, 'DOCKER_CONFIG_INVALID');
            assert.doesNotMatch(error.message, /\n/);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('daemon.json of any keys', () => {
  it('has what JSON.parse finds, where no key is there twice', async () => {
    const values = fc.oneof(fc.constantFrom('/a', '/b"\\', ''), fc.constant(null));
    await fc.assert(
      fc.asyncProperty(
        fc.record({ 'data-root': values, 'storage-driver': values, other: fc.jsonValue() }),
        fc.array(fc.jsonValue()),
        async (known, list) => {
          const found = await readText(JSON.stringify({ list, ...known }, undefined, 1));
          assert.deepEqual(
            [found.dataRoot, found.storageDriver],
            [known['data-root'] || defaults.dataRoot, known['storage-driver'] || undefined],
          );
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('docker.service', () => {
  const execStart = (argv: string): string =>
    `{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd ${argv} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }`;

  it("'s ExecStart is parsed", () => {
    assert.deepEqual(parseExecStart(execStart('-H fd:// --containerd=/run/containerd/containerd.sock')), [
      '/usr/sbin/dockerd',
      '-H',
      'fd://',
      '--containerd=/run/containerd/containerd.sock',
    ]);
    assert.deepEqual(parseExecStart(''), []);
    assert.deepEqual(parseExecStart('{ path=/bin/true }'), []);
  });

  it("'s environment is parsed, with what is quoted", () => {
    assert.deepEqual(parseEnvironment('A=1 "B=two words" C= D=x=y nonsense =z'), {
      A: '1',
      B: 'two words',
      C: '',
      D: 'x=y',
    });
    assert.deepEqual(parseEnvironment(''), {});
    assert.deepEqual(parseEnvironmentFile('# A=0\n;B=0\nA=1\nOPTS="--data-root /a -s vfs"\nC=\'x y\'\n'), {
      A: '1',
      OPTS: '--data-root /a -s vfs',
      C: 'x y',
    });
  });

  it("'s environment files are all read", () => {
    const [properties] = parseShow(
      'LoadState=loaded\nEnvironmentFiles=/etc/default/docker (ignore_errors=yes)\nEnvironmentFiles=/etc/my docker (ignore_errors=no)\n',
    );
    assert.deepEqual(environmentFiles(properties?.get('EnvironmentFiles') ?? []), [
      '/etc/default/docker',
      '/etc/my docker',
    ]);
    assert.deepEqual(environmentFiles(['', 'nonsense']), []);
  });

  for (const { argv, environment = {}, file, expected } of [
    { argv: '-H fd://', expected: { hosts: ['fd://'] } },
    { argv: '--data-root /a', expected: { dataRoot: '/a' } },
    { argv: '--data-root=/a/', expected: { dataRoot: '/a' } },
    { argv: '-g /a', expected: { dataRoot: '/a' } },
    { argv: '--graph=/a', expected: { dataRoot: '/a' } },
    { argv: '--data-root=/a --data-root=/b', expected: { dataRoot: '/b' } },
    { argv: '--data-root=', expected: {} },
    {
      argv: '$DOCKER_OPTS',
      environment: { DOCKER_OPTS: '--data-root /a -s vfs' },
      expected: { dataRoot: '/a', storageDriver: 'vfs' },
    },
    { argv: '$DOCKER_OPTS', environment: { DOCKER_OPTS: '--data-root="/a"' }, expected: { dataRoot: '/a' } },
    { argv: '$DOCKER_OPTS', expected: {} },
    { argv: '--data-root=${ROOT}/docker', environment: { ROOT: '/mnt' }, expected: { dataRoot: '/mnt/docker' } },
    { argv: '-s btrfs', expected: { storageDriver: 'btrfs' } },
    { argv: '--storage-driver=zfs', file: '{"storage-driver":"overlay2"}', expected: { storageDriver: 'zfs' } },
    { argv: '--userns-remap=default', expected: { usernsRemap: 'default' } },
    {
      argv: '-H fd:// --host=unix:///d.sock --containerd=/run/containerd/containerd.sock',
      expected: { hosts: ['fd://', 'unix:///d.sock'] },
    },
    { argv: '', file: '{"hosts":["tcp://0.0.0.0:2375"]}', expected: { hosts: ['tcp://0.0.0.0:2375'] } },
    {
      argv: '',
      file: '{"data-root":"/of/file","userns-remap":"u"}',
      expected: { dataRoot: '/of/file', usernsRemap: 'u' },
    },
    { argv: '', environment: { DOCKER_DRIVER: 'vfs' }, expected: { storageDriver: 'vfs' } },
    {
      argv: '',
      environment: { DOCKER_DRIVER: 'vfs' },
      file: '{"storage-driver":"overlay2"}',
      expected: { storageDriver: 'overlay2' },
    },
  ]) {
    it(`with '${argv}'${file === undefined ? '' : ` and ${file}`} ${JSON.stringify(environment)}`, async (t) => {
      const config = path.join(scratch(t), 'daemon.json');
      if (file !== undefined) writeFileSync(config, file);
      assert.deepEqual(await storeOfService(parseExecStart(execStart(argv)), environment, config), {
        dataRoot: '/var/lib/docker',
        storageDriver: undefined,
        usernsRemap: undefined,
        hosts: [],
        ...expected,
      });
    });
  }

  it('names another configuration file', async (t) => {
    const other = path.join(scratch(t), 'other.json');
    writeFileSync(other, '{"data-root":"/other"}');
    assert.equal(
      (await storeOfService(['dockerd', '--config-file', other], {}, '/nonexistent/daemon.json')).dataRoot,
      '/other',
    );
  });
});

describe('the store of a data root', () => {
  for (const { is, config = {}, folders = [], says } of [
    { is: 'empty: overlay2', says: undefined },
    { is: 'with overlay2 filled', folders: ['overlay2/l'], says: undefined },
    {
      is: "with overlay2 filled, and another driver's, too: dockerd's own affair",
      folders: ['overlay2/l', 'btrfs/x'],
      says: undefined,
    },
    { is: 'with overlay2 chosen', config: { storageDriver: 'overlay2' }, folders: ['btrfs/x'], says: undefined },
    { is: 'with overlay2 empty', folders: ['overlay2'], says: undefined },
    { is: "with another driver's folder empty", folders: ['btrfs'], says: undefined },
    { is: 'with vfs: not a driver that dockerd would keep to', folders: ['vfs/dir'], says: undefined },
    {
      is: 'with another driver chosen',
      config: { storageDriver: 'vfs' },
      says: /^the storage driver is 'vfs', overlay2 expected$/,
    },
    {
      is: 'with another driver chosen and overlay2 filled',
      config: { storageDriver: 'vfs' },
      folders: ['overlay2/l'],
      says: /'vfs'/,
    },
    ...['btrfs', 'fuse-overlayfs', 'zfs'].map((driver) => ({
      is: `with ${driver} filled`,
      folders: [`${driver}/x`],
      says: new RegExp(`^dockerd would keep to the storage driver '${driver}', which .*/${driver} is filled by$`),
    })),
    {
      is: 'with userns-remap',
      config: { usernsRemap: 'default' },
      folders: ['overlay2/l'],
      says: /^userns-remap is set to 'default'/,
    },
    {
      is: 'with the containerd store chosen',
      config: { containerdStore: true },
      folders: ['overlay2/l'],
      says: /^the containerd image store is in use/,
    },
    {
      is: 'with the containerd store in use',
      folders: ['rootfs/overlayfs/x'],
      says: /^the containerd image store is in use \(.* is filled by it\)$/,
    },
    {
      is: 'with the containerd store of an embedded containerd in use',
      folders: ['containerd/daemon/io.containerd.content.v1.content/blobs/sha256'],
      says: /^the containerd image store is in use/,
    },
    {
      is: 'with the containerd store in use once, but switched off',
      config: { containerdStore: false },
      folders: ['rootfs/overlayfs/x'],
      says: undefined,
    },
    {
      is: 'with the containerd store in use once, overlay2 filled',
      folders: ['rootfs/overlayfs/x', 'overlay2/l'],
      says: undefined,
    },
  ] as readonly {
    is: string;
    config?: Partial<DaemonConfig>;
    folders?: readonly string[];
    says: RegExp | undefined;
  }[]) {
    it(is, async (t) => {
      const dataRoot = path.join(scratch(t), 'docker');
      for (const folder of folders) mkdirSync(path.join(dataRoot, folder), { recursive: true });
      const found = await unsupportedStore(dataRoot, { ...defaults, dataRoot, ...config }, () =>
        assert.fail('nothing here depends on the version'),
      );
      if (says === undefined) assert.equal(found, undefined);
      else assert.match(found ?? '', says);
    });
  }

  for (const { driver, last, first } of [
    { driver: 'aufs', last: '23.0.6', first: '24.0.0' },
    { driver: 'overlay', last: '20.10.24+dfsg1', first: '24.0.9' },
    { driver: 'devicemapper', last: '24.0.9', first: '25.0.0-1' },
  ]) {
    it(`with ${driver} filled: dockerd keeps to it up to ${last}, and knows none such from ${first} on`, async (t) => {
      const dataRoot = path.join(scratch(t), 'docker');
      mkdirSync(path.join(dataRoot, driver, 'x'), { recursive: true });
      const unsupportedBy = (version: string | null): Promise<string | undefined> =>
        unsupportedStore(dataRoot, { ...defaults, dataRoot }, () => Promise.resolve(version));
      assert.match(
        (await unsupportedBy(last)) ?? '',
        new RegExp(`^dockerd would keep to the storage driver '${driver}', which .*/${driver} is filled by$`),
      );
      assert.equal(await unsupportedBy(first), undefined);
      assert.match(
        (await unsupportedBy(null)) ?? '',
        new RegExp(`'${driver}'.*which dockerd starts here is not known; set "storage-driver": "overlay2"`),
      );
      // Another one that every dockerd knows.
      mkdirSync(path.join(dataRoot, 'zfs/x'), { recursive: true });
      assert.match((await unsupportedBy(first)) ?? '', /'zfs'/);
    });
  }
});
