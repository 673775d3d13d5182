import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, realpathSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { checkMountRoot, defaultConfig, runtimePath, type Config } from '../../agent/config/config.ts';
import { readConfig } from '../../agent/config/read-config.ts';
import { makeScratch, removeScratch, scratch } from '../support/temp-tree.ts';

async function readText(text: string): Promise<Config> {
  const folder = makeScratch();
  try {
    writeFileSync(path.join(folder, 'config.json'), text);
    return await readConfig(path.join(folder, 'config.json'));
  } finally {
    removeScratch(folder);
  }
}

const digest = `sha256:${'a'.repeat(64)}`;

describe('the configuration', () => {
  it('has the defaults that the documentation names', async () => {
    assert.deepEqual(defaultConfig(), {
      labels: ['dpl-*'],
      required: [],
      sources: [],
      deviceTimeoutSec: 10,
      idleExitSec: 0,
      dockerConfig: '/etc/docker/daemon.json',
      conflicts: 'user',
      mountRoot: '/run/docker-preloader/disks',
      statusSocket: '/run/docker-preloader/status.sock',
      removedImages: 'restore',
      prunedImages: 'restore',
      readAheadMb: 512,
      store: 'auto',
      containerdAddress: '/run/containerd/containerd.sock',
      namespaces: ['moby'],
    });
    assert.deepEqual(await readText('{}'), defaultConfig());
  });

  it('takes every key', async () => {
    const all = {
      labels: ['dpl-*', 'late', '*'],
      required: ['base', `pinned@${digest}`, 'must-*'],
      sources: ['/srv/disks/*', '/mnt/images', 'virtiofs:images', '9p:images'],
      deviceTimeoutSec: 0.5,
      idleExitSec: 30,
      dockerConfig: '/a/daemon.json',
      dockerHost: 'unix:///run/my-docker.sock',
      dataRoot: '/data',
      conflicts: 'disk',
      mountRoot: '/mnt/disks',
      statusSocket: '/run/x.sock',
      removedImages: 'respect',
      prunedImages: 'respect',
      readAheadMb: 0.5,
      store: 'both',
      containerdAddress: '/run/k3s/containerd/containerd.sock',
      containerdRoot: '/var/lib/rancher/k3s/agent/containerd',
      containerdConfig: '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
      containerdProgram: '/var/lib/rancher/k3s/data/current/bin/containerd',
      namespaces: ['moby', 'k8s.io', 'moby', 'a.b-c_d'],
    };
    assert.deepEqual(await readText(JSON.stringify(all)), {
      ...all,
      namespaces: ['moby', 'k8s.io', 'a.b-c_d'],
      required: [
        { pattern: 'base', digest: undefined, text: 'base' },
        { pattern: 'pinned', digest, text: `pinned@${digest}` },
        { pattern: 'must-*', digest: undefined, text: 'must-*' },
      ],
    });
  });

  it('makes paths plain', async () => {
    const { dataRoot, mountRoot } = await readText('{"dataRoot":"/a//b/../c/","mountRoot":"/m/"}');
    assert.deepEqual([dataRoot, mountRoot], ['/a/c', '/m']);
    assert.equal((await readText('{"dataRoot":"/"}')).dataRoot, '/');
    assert.equal(runtimePath(defaultConfig(), 'status.json'), '/run/docker-preloader/status.json');
  });

  for (const [text, says] of [
    ['', /config\.json: .*JSON/],
    ['{', /config\.json: .*JSON/],
    ['[]', /expected object, found \[\]$/],
    ['{"label":["x"]}', /unknown key `label`$/],
    ['{"__proto__":{}}', /unknown key `__proto__`$/],
    ['{"labels":"dpl-*"}', /`labels`: expected array, found "dpl-\*"$/],
    ['{"labels":[7]}', /`labels\.0`: expected string, found 7$/],
    [
      '{"labels":["ok","../x"]}',
      /`labels\.1`: expected a label of at most 16 letters, digits, dots, dashes and underscores, or a glob of such, found "\.\.\/x"$/,
    ],
    ['{"labels":[""]}', /`labels\.0`: expected a label/],
    ['{"labels":["seventeen-letters"]}', /`labels\.0`: expected a label of at most 16/],
    [
      '{"required":["x@sha256:short"]}',
      /`required\.0`: expected a label or glob, perhaps with @sha256:<64 hex digits> behind it, found "x@sha256:short"$/,
    ],
    ['{"deviceTimeoutSec":"10"}', /`deviceTimeoutSec`: expected number, found "10"$/],
    ['{"deviceTimeoutSec":-1}', /`deviceTimeoutSec`: expected at least 0, found -1$/],
    ['{"idleExitSec":-1}', /`idleExitSec`: expected 0, or a time of 10 to 86400 seconds, found -1$/],
    ['{"idleExitSec":9}', /`idleExitSec`: expected 0, or a time of 10 to 86400 seconds, found 9$/],
    ['{"deviceTimeoutSec":1e9}', /`deviceTimeoutSec`: expected at most 3600, found 1000000000$/],
    ['{"store":"btrfs"}', /`store`: expected /],
    ['{"containerdAddress":"run/c.sock"}', /`containerdAddress`: expected an absolute path, found "run\/c\.sock"$/],
    [
      '{"namespaces":["../x"]}',
      /`namespaces\.0`: expected a namespace of at most 76 letters and digits, .*found "\.\.\/x"$/,
    ],
    ['{"readAheadMb":-1}', /`readAheadMb`: expected at least 0, found -1$/],
    ['{"readAheadMb":1e9}', /`readAheadMb`: expected at most 1000000, found 1000000000$/],
    ['{"dataRoot":"docker"}', /`dataRoot`: expected an absolute path, found "docker"$/],
    ['{"dataRoot":null}', /`dataRoot`: expected string, found null$/],
    ['{"mountRoot":""}', /`mountRoot`: expected an absolute path, found ""$/],
    ['{"conflicts":"both"}', /`conflicts`: expected "user" or "disk", found "both"$/],
    ['{"removedImages":true}', /`removedImages`: expected "restore" or "respect", found true$/],
    [`{"conflicts":"${'x'.repeat(500)}"}`, /found "x{59}…$/],
    ['{"labels":["a"],"labels":["b"]}', /`labels`: expected each key once, found it again$/],
    ['{"labels":["a"],"l\\u0061bels":["b"]}', /`labels`: expected each key once, found it again$/],
    ...['dataRoot', 'mountRoot', 'statusSocket', 'dockerConfig'].map(
      (key) =>
        [
          `{"${key}":"/a\\u0000b"}`,
          new RegExp(`\`${key}\`: expected a path without NUL, found "/a\\\\u0000b"$`),
        ] as const,
    ),
    ['{"dockerHost":"unix:///a\\u0000b"}', /`dockerHost`: expected a path without NUL, found/],
    [
      `{"labels":${'['.repeat(2e5)}${']'.repeat(2e5)}}`,
      /config\.json: (expected JSON with a few levels|`labels\.0`: )/,
    ],
  ] as const) {
    it(`${text.slice(0, 60)} is refused, naming the key`, () =>
      assert.rejects(readText(text), { code: 'CONFIG_INVALID', message: says }));
  }

  it('that somebody named must be there', async (t) => {
    const folder = scratch(t);
    await assert.rejects(readConfig(path.join(folder, 'none.json')), {
      code: 'CONFIG_INVALID',
      message: /none\.json: expected a configuration file, found none$/,
    });
    mkdirSync(path.join(folder, 'folder.json'));
    await assert.rejects(readConfig(path.join(folder, 'folder.json')), {
      code: 'CONFIG_INVALID',
      message: /^\S+folder\.json: expected a regular file, found a folder$/,
    });
  });

  it('is a file of a size that people write, perhaps behind a symlink', async (t) => {
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    execFileSync('mkfifo', [at('fifo')]);
    writeFileSync(at('huge'), '{}');
    truncateSync(at('huge'), 3e9);
    for (const [file, says] of [
      [at('fifo'), /fifo: expected a regular file, found something else$/],
      ['/dev/zero', /zero: expected a regular file, found something else$/],
      [at('huge'), /huge: expected at most 1048576 bytes, found 3000000000$/],
    ] as const) {
      await assert.rejects(readConfig(file), { code: 'CONFIG_INVALID', message: says });
    }
    writeFileSync(at('real'), '\uFEFF{"labels":["marked"]}');
    symlinkSync('real', at('link'));
    assert.deepEqual((await readConfig(at('link'))).labels, ['marked']);
  });

  it('may not put the mounts below the data root', () => {
    const config = { ...defaultConfig(), mountRoot: '/var/lib/docker/disks' };
    assert.throws(() => checkMountRoot(config, '/var/lib/docker'), {
      code: 'CONFIG_INVALID',
      message: '`mountRoot`: expected a folder outside of the data root /var/lib/docker, found /var/lib/docker/disks',
    });
    assert.throws(() => checkMountRoot({ ...config, mountRoot: '/var/lib/docker' }, '/var/lib/docker'), {
      code: 'CONFIG_INVALID',
    });
    checkMountRoot({ ...config, mountRoot: '/var/lib/docker-disks' }, '/var/lib/docker');
    checkMountRoot(defaultConfig(), '/var/lib/docker');
  });

  it('has its mounts where symlinks lead to, for the check, too', async (t) => {
    const folder = realpathSync(scratch(t));
    mkdirSync(path.join(folder, 'data/below'), { recursive: true });
    for (const [target, name] of [
      ['data', 'data-link'],
      ['data/below', 'mounts-link'],
      ['run', 'not-there-yet'],
    ] as const)
      symlinkSync(target, path.join(folder, name));
    const read = (mountRoot: string): Promise<Config> =>
      readText(JSON.stringify({ mountRoot: path.join(folder, mountRoot) }));
    assert.equal((await read('not-there-yet/disks')).mountRoot, path.join(folder, 'run/disks'));
    for (const dataRoot of ['data', 'data-link']) {
      for (const mountRoot of ['data/disks', 'data-link/disks', 'mounts-link', 'mounts-link/disks']) {
        const config = await read(mountRoot);
        assert.throws(
          () => checkMountRoot(config, path.join(folder, dataRoot)),
          {
            code: 'CONFIG_INVALID',
            message: new RegExp(`outside of the data root ${folder}/data, found ${folder}/data/`),
          },
          `${mountRoot} and ${dataRoot}`,
        );
      }
      checkMountRoot(await read('not-there-yet/disks'), path.join(folder, dataRoot));
    }
  });

  it('is read or refused by name, whatever it is', async () => {
    const near = fc.record(
      {
        labels: fc.jsonValue(),
        required: fc.jsonValue(),
        deviceTimeoutSec: fc.jsonValue(),
        dataRoot: fc.jsonValue(),
        conflicts: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.json(),
          fc.string(),
          near.map((value) => JSON.stringify(value)),
        ),
        async (text) => {
          try {
            const { labels, deviceTimeoutSec, dataRoot = '/' } = await readText(text);
            assert.ok(Array.isArray(labels) && deviceTimeoutSec >= 0 && path.isAbsolute(dataRoot));
          } catch (error) {
            assert.ok(error instanceof Error && 'code' in error, String(error));
            assert.equal(error.code, 'CONFIG_INVALID');
            // oxlint-disable-next-line no-control-regex -- none may be left
            assert.doesNotMatch(error.message, /[\u0000-\u001f]/);
          }
        },
      ),
    );
  });
});
