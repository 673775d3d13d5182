import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { readDaemonConfig, type DaemonConfig } from '../../agent/docker/daemon-config.ts';
import { makeScratch, removeScratch, scratch } from '../support/temp-tree.ts';

const defaults: DaemonConfig = {
  dataRoot: '/var/lib/docker',
  storageDriver: undefined,
  usernsRemap: undefined,
  containerdStore: undefined,
  containerd: undefined,
  execRoot: '/var/run/docker',
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
    ['{"containerd":"/run/c.sock","exec-root":"/run/d"}', { containerd: '/run/c.sock', execRoot: '/run/d' }],
    ['{"containerd":"unix:///run/c.sock"}', { containerd: '/run/c.sock' }],
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
      message: /expected UTF-16, .* of an even number of bytes, found 37: the store is left alone$/,
    });
    await assert.rejects(readText(bytes.subarray(2)), { code: 'DOCKER_CONFIG_INVALID' });
  });

  it("that is not there means dockerd's defaults", async (t) =>
    assert.deepEqual(await readDaemonConfig(path.join(scratch(t), 'none.json')), defaults));

  for (const [text, says] of [
    ['{', /daemon\.json: .*JSON.*: the store is left alone$/],
    ['[]', /expected object, found \[\]: the store is left alone$/],
    ['{"data-root":7}', /`data-root`: expected string, found 7: the store is left alone$/],
    ['{"data-root":"relative"}', /`data-root`: expected an absolute path, found "relative"/],
    ['{"storage-driver":["overlay2"]}', /`storage-driver`: expected string, found \["overlay2"\]/],
    ['{"features":true}', /`features`: expected object, found true/],
    [
      '{"features":{"containerd-snapshotter":"yes"}}',
      /`features\.containerd-snapshotter`: expected boolean, found "yes"/,
    ],
    ['{"data-root":"/x" // comment\n}', /JSON/],
    [
      '{"Data-Root":"/x"}',
      /`Data-Root`: expected the key `data-root` in lower case, as dockerd wants it: the store is left alone$/,
    ],
    ['{"features":{},"FEATURES":{"containerd-snapshotter":true}}', /`FEATURES`: expected the key `features`/],
    ['{"data-root":"/a\\u0000b"}', /`data-root`: expected a path without NUL, found "\/a\\u0000b": the store/],
    ['\uFEFF\uFEFF{"data-root":"/a"}', /JSON/],
    ['{"data-root":"/x","graph":"/y"}', /`graph`: expected none beside `data-root`/],
  ] as const) {
    it(`${JSON.stringify(text).slice(0, 80)} is refused in one line, with the key`, () =>
      assert.rejects(readText(text), { code: 'DOCKER_CONFIG_INVALID', message: says }));
  }

  it('is a file of a size that people write', async (t) => {
    const folder = scratch(t);
    execFileSync('mkfifo', [path.join(folder, 'fifo')]);
    writeFileSync(path.join(folder, 'huge'), '{}');
    truncateSync(path.join(folder, 'huge'), 3e9);
    for (const [file, says] of [
      [path.join(folder, 'fifo'), /fifo: expected a regular file, found something else: the store is left alone$/],
      [path.join(folder, 'huge'), /huge: expected at most 1048576 bytes, found 3000000000: the store is left alone$/],
    ] as const) {
      await assert.rejects(readDaemonConfig(file), { code: 'DOCKER_CONFIG_INVALID', message: says });
    }
  });

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
