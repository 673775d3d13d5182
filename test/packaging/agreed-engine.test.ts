import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import {
  ENGINE_VARIABLE,
  engineSources,
  TESTED_ENGINE,
  type EngineSource,
} from '../../agent/packaging/small/engine-source.ts';
import { buildSmallExecutable } from '../../agent/packaging/small/small-executable.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { torture } from '../support/size.ts';
import { tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
const CACHE = 'DOCKER_PRELOADER_CACHE';

/** The sources as they are, and a cache of the test's own, in which others can be. */
let tested: EngineSource;
let cache: string;
const told: string[] = [];
const tell = (line: string): void => void told.push(line);

beforeEach(() => void told.splice(0));
before(async () => {
  tested = await agreedEngine(root);
  cache = (await tempTree('dpl-engines')).path;
  symlinkSync(tested.folder, path.join(cache, path.basename(tested.folder)));
});
after(() => cleanUpAll());

function withEnvironment(t: TestContext, variables: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(variables)) {
    const old = process.env[name];
    t.after(() => {
      if (old === undefined) delete process.env[name];
      else process.env[name] = old;
    });
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/** Sources that Debian never had, made of those that it has. */
function made(version: string, change: (folder: string) => void): EngineSource {
  const folder = path.join(cache, `quickjs-source-${version}`);
  cpSync(tested.folder, folder, { recursive: true });
  change(folder);
  return { ...tested, version, folder };
}

const edit = (file: string, from: string, to: string): void => {
  const text = readFileSync(file, 'utf8');
  assert.ok(text.includes(from), `${file} has ${from}`);
  writeFileSync(file, text.replace(from, to));
};

async function* each(...sources: readonly EngineSource[]): AsyncGenerator<EngineSource> {
  for (const source of sources) yield await Promise.resolve(source);
}

describe('the engine that the small executable is made of', () => {
  it('is the version that was tested, of which nothing is said', async () => {
    assert.equal((await agreedEngine(root, engineSources(), tell)).version, TESTED_ENGINE);
    assert.deepEqual(told, []);
  });

  it('is never one that does not answer as Node: the next one is looked at', async (t) => {
    withEnvironment(t, { [CACHE]: cache });
    const broken = made('0-broken', (folder) => writeFileSync(path.join(folder, 'quickjs.c'), '#error broken\n'));
    assert.equal((await agreedEngine(root, each(broken, tested), tell)).version, TESTED_ENGINE);
    assert.match(
      told.join('\n'),
      /quickjs 0-broken in place of .*\n.*quickjs 0-broken is not taken: it does not pass '/,
    );
    await assert.rejects(
      agreedEngine(root, each(broken), tell),
      /Expected an engine that answers as Node does, found that 0-broken/,
    );
  });

  it(
    'is not one that differs in a little, and is the next one that does not, which --version names',
    { skip: !torture && 'test:torture compiles two engines more' },
    async (t) => {
      withEnvironment(t, { [CACHE]: cache });
      // Half of a surrogate pair in JSON.
      const odd = made('0-odd', (folder) =>
        edit(path.join(folder, 'quickjs.c'), 'if (c < 32 || is_surrogate(c)) {', 'if (c < 32) {'),
      );
      const like = made('0-like', () => undefined);
      assert.equal((await agreedEngine(root, each(odd, like), tell)).version, '0-like');
      assert.match(told.join('\n'), /0-odd is not taken: .*\n[^]*0-like answers as Node does, and is taken/);
      withEnvironment(t, { [ENGINE_VARIABLE]: '0-like' });
      const output = path.join(cache, 'docker-preloader');
      mkdirSync(path.dirname(output), { recursive: true });
      await buildSmallExecutable(root, output, path.join(root, 'dist/lib/docker-preloader/docker-preloader'));
      assert.match(execFileSync(output, ['--version'], { encoding: 'utf8' }), /quickjs 0-like/);
    },
  );

  it(
    'is what Debian has next, where that agrees',
    { skip: !torture && 'test:torture fetches and compiles it' },
    async (t) => {
      withEnvironment(t, { [CACHE]: path.join(cache, 'empty') });
      const versions: string[] = [];
      for await (const { version } of engineSources('0-gone')) versions.push(version);
      assert.ok(versions.length > 0 && new Set(versions).size === versions.length, versions.join(' '));
      const { version } = await agreedEngine(root, engineSources('0-gone'), tell);
      assert.ok(versions.includes(version));
    },
  );
});
