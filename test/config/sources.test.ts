import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { defaultConfig } from '../../agent/config/config.ts';
import { readConfig, readLayers, type Places } from '../../agent/config/read-config.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';

const INITIAL = 'pid:[4026531836]';

describe('where the configuration comes from', () => {
  let folder: string;
  let places: Places;
  beforeEach(() => {
    folder = makeScratch();
    const at = (name: string): string => path.join(folder, name);
    places = {
      vendor: at('vendor.json'),
      file: at('config.json'),
      folder: at('config.json.d'),
      credentials: at('credentials'),
      commandLine: at('cmdline'),
      container: { namespace: at('pid'), files: [at('dockerenv')] },
    };
    for (const name of ['config.json.d', 'credentials']) mkdirSync(at(name));
    symlinkSync(INITIAL, at('pid'));
  });
  afterEach(() => removeScratch(folder));

  const put = (name: string, content: string): void => writeFileSync(path.join(folder, name), content);
  const credential = (name: string, content: string): void => put(`credentials/docker-preloader.${name}`, content);
  const refusal = async (): Promise<string> => {
    const error: unknown = await readConfig(undefined, places).then(
      () => assert.fail('expected a refusal, found none'),
      (refused: unknown) => refused,
    );
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, 'CONFIG_INVALID');
    return error.message.replaceAll(`${folder}/`, '');
  };

  it('is nowhere: all defaults apply', async () => {
    assert.deepEqual(await readConfig(undefined, places), defaultConfig());
    rmSync(path.join(folder, 'config.json.d'), { recursive: true });
    rmSync(path.join(folder, 'credentials'), { recursive: true });
    put('cmdline', 'BOOT_IMAGE=/vmlinuz root=/dev/vda quiet\n');
    assert.deepEqual(await readConfig(undefined, places), defaultConfig());
  });

  it('is in several places: of each key, the last one counts, and a list takes the place of a list', async () => {
    const steps: readonly (() => void)[] = [
      () => put('vendor.json', '{"labels": ["a", "b"], "readAheadMb": 1}'),
      () => put('config.json', '{"labels": ["c"], "deviceTimeoutSec": 2}'),
      () => put('config.json.d/20-x.json', '{"labels": ["e"]}'),
      // Before the one that is there already, by its name.
      () => put('config.json.d/10-x.json', '{"labels": ["d"], "idleExitSec": 10}'),
      () => credential('config', '{"labels": ["f"], "store": "both"}'),
      () => credential('labels', 'g,h\n'),
      () => put('cmdline', 'quiet docker_preloader.labels=i,j docker-preloader.readAheadMb=7\n'),
    ];
    const found: (readonly string[])[] = [];
    for (const step of steps) {
      step();
      found.push((await readConfig(undefined, places)).labels);
    }
    assert.deepEqual(found, [['a', 'b'], ['c'], ['e'], ['e'], ['f'], ['g', 'h'], ['i', 'j']]);
    const { readAheadMb, deviceTimeoutSec, idleExitSec, store } = await readConfig(undefined, places);
    assert.deepEqual([readAheadMb, deviceTimeoutSec, idleExitSec, store], [7, 2, 10, 'both']);
  });

  it('takes from a folder what ends in .json and is not hidden', async () => {
    for (const name of ['.a.json', 'a.json~', 'a.conf', 'README']) put(`config.json.d/${name}`, 'not JSON');
    assert.deepEqual(await readConfig(undefined, places), defaultConfig());
  });

  it('takes a named file in the place of the others, and what is from outside all the same', async () => {
    put('vendor.json', '{"labels": ["a"]}');
    put('config.json', '{"labels": ["b"], "readAheadMb": 1}');
    put('config.json.d/x.json', '{"labels": ["c"]}');
    put('mine.json', '{"labels": ["mine"]}');
    credential('deviceTimeoutSec', '3');
    const config = await readConfig(path.join(folder, 'mine.json'), places);
    assert.deepEqual([config.labels, config.readAheadMb, config.deviceTimeoutSec], [['mine'], 512, 3]);
  });

  it('reads each kind of value from a text', async () => {
    credential('labels', '');
    credential('sources', '/srv/disks/*,virtiofs:images');
    credential('required', `base,pinned@sha256:${'a'.repeat(64)}`);
    credential('deviceTimeoutSec', '0.5\n');
    credential('dataRoot', '/srv/docker/');
    credential('conflicts', 'disk');
    const config = await readConfig(undefined, places);
    assert.deepEqual([config.labels, config.sources], [[], ['/srv/disks/*', 'virtiofs:images']]);
    assert.deepEqual(
      config.required.map(({ text }) => text),
      ['base', `pinned@sha256:${'a'.repeat(64)}`],
    );
    assert.deepEqual([config.deviceTimeoutSec, config.dataRoot, config.conflicts], [0.5, '/srv/docker', 'disk']);
  });

  it('reads the command line of the kernel as the kernel and systemd do', async () => {
    const labels = async (line: string): Promise<readonly string[]> => {
      put('cmdline', line);
      return (await readConfig(undefined, places)).labels;
    };
    assert.deepEqual(await labels('docker_preloader.labels=a docker_preloader.labels=b'), ['b']);
    assert.deepEqual(await labels('"docker_preloader.labels=a,b" quiet'), ['a', 'b']);
    assert.deepEqual(await labels('docker-preloader.labels="a,b"'), ['a', 'b']);
    assert.deepEqual(await labels('docker_preloader.labels='), []);
    assert.deepEqual(await labels('xdocker_preloader.labels=a x=docker_preloader.labels=a'), ['dpl-*']);
    assert.deepEqual(await labels('x="y docker_preloader.labels=a z"'), ['dpl-*']);
  });

  it("of a container is not on the command line, which is that of the host's kernel", async () => {
    put('cmdline', 'docker_preloader.labels=host docker_preloader.nonsense=1');
    for (const make of [
      () => put('dockerenv', ''),
      () => {
        rmSync(path.join(folder, 'dockerenv'));
        rmSync(path.join(folder, 'pid'));
        symlinkSync('pid:[4026532001]', path.join(folder, 'pid'));
      },
    ]) {
      make();
      assert.deepEqual(await readConfig(undefined, places), defaultConfig());
    }
  });

  it('names the source of what is wrong, also where a later one says otherwise', async () => {
    const last = 'docker_preloader.readAheadMb=1 docker_preloader.labels=a';
    const cases: readonly (readonly [name: string, content: string, message: RegExp])[] = [
      ['vendor.json', '{"readAheadMb": -1}', /^vendor\.json: `readAheadMb`: expected at least 0, found -1$/],
      ['config.json.d/x.json', '{"label": []}', /^config\.json\.d\/x\.json: unknown key `label`$/],
      ['config.json.d/x.json', '', /^config\.json\.d\/x\.json: /],
      [
        'credentials/docker-preloader.config',
        '[]',
        /^credentials\/docker-preloader\.config: expected object, found \[\]$/,
      ],
      ['credentials/docker-preloader.lables', 'a', /^credentials\/docker-preloader\.lables: unknown key `lables`$/],
      [
        'credentials/docker-preloader.readAheadMb',
        'much',
        /readAheadMb: `readAheadMb`: expected number, found "much"$/,
      ],
      [
        'credentials/docker-preloader.required',
        'a b',
        /required: `required\.0`: expected a label or glob.*, found "a b"$/,
      ],
      ['credentials/docker-preloader.constructor', 'a', /unknown key `constructor`$/],
      [
        'cmdline',
        'docker_preloader.store=all',
        /^the kernel's command line: `store`: expected "auto" or .*, found "all"$/,
      ],
      [
        'cmdline',
        'docker_preloader.labels',
        /^the kernel's command line: `labels`: expected docker_preloader\.labels=VALUE, found no value$/,
      ],
      ['cmdline', 'docker_preloader.=1', /^the kernel's command line: unknown key ``$/],
    ];
    for (const [name, content, message] of cases) {
      put('cmdline', last);
      put(name, content);
      assert.match(await refusal(), message, name);
      if (name !== 'cmdline') rmSync(path.join(folder, name));
    }
  });

  it('is refused where a source is not in UTF-8, which would make another path of one', async () => {
    const latin = '{"dockerConfig": "/etc/d\u00e9j\u00e0"}';
    for (const [name, content] of [
      ['config.json', latin],
      ['config.json.d/x.json', latin],
      ['credentials/docker-preloader.config', latin],
      ['credentials/docker-preloader.dataRoot', '/srv/d\u00e9j\u00e0'],
      ['cmdline', 'quiet docker_preloader.dataRoot=/srv/\u00e9'],
    ] as const) {
      writeFileSync(path.join(folder, name), content, 'utf8');
      await readConfig(undefined, places);
      writeFileSync(path.join(folder, name), content, 'latin1');
      assert.match(await refusal(), /^[^:]*: (`dataRoot`: )?expected UTF-8, found bytes that are none$/, name);
      rmSync(path.join(folder, name));
    }
    writeFileSync(path.join(folder, 'credentials/docker-preloader.config'), '\uFEFF{"labels": ["a"]}');
    assert.deepEqual((await readConfig(undefined, places)).labels, ['a']);
  });

  it('is refused where a source is no file that can be read', async () => {
    mkdirSync(path.join(folder, 'credentials/docker-preloader.config'));
    assert.match(await refusal(), /^credentials\/docker-preloader\.config: expected a regular file, found a folder$/);
    rmSync(path.join(folder, 'credentials/docker-preloader.config'), { recursive: true });
    symlinkSync('gone', path.join(folder, 'config.json.d/x.json'));
    // A link that leads nowhere says nothing, as with the file itself.
    assert.deepEqual(await readConfig(undefined, places), defaultConfig());
  });

  it('can be told with its sources', async () => {
    put('config.json', '{"labels": ["c"]}');
    credential('labels', 'g');
    put('cmdline', 'docker_preloader.readAheadMb=7');
    assert.deepEqual(await readLayers(undefined, places), [
      { source: path.join(folder, 'config.json'), said: { labels: ['c'] } },
      { source: path.join(folder, 'credentials/docker-preloader.labels'), said: { labels: ['g'] } },
      { source: "the kernel's command line", said: { readAheadMb: 7 } },
    ]);
  });
});
