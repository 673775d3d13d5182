import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cacheDir } from '../../agent/packaging/small/cache-folder.ts';
import { cached } from './cache.ts';
import { cleanUpAll } from './cleanup.ts';
import { tempTree } from './temp-tree.ts';

describe('cached', () => {
  let folder = '';
  const saved = process.env['DOCKER_PRELOADER_CACHE'];
  before(async () => {
    ({ path: folder } = await tempTree('dpl-cache'));
    process.env['DOCKER_PRELOADER_CACHE'] = folder;
  });
  after(async () => {
    if (saved === undefined) delete process.env['DOCKER_PRELOADER_CACHE'];
    else process.env['DOCKER_PRELOADER_CACHE'] = saved;
    await cleanUpAll();
  });

  it('makes a key once, also when two ask for it at the same time', async () => {
    let made = 0;
    const make = async (dir: string): Promise<void> => {
      made += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
      writeFileSync(path.join(dir, 'content'), String(made));
    };
    const [first, second] = await Promise.all([cached('one', make), cached('one', make)]);
    assert.equal(first, path.join(cacheDir(), 'one'));
    assert.equal(second, first);
    assert.equal(made, 1);
    assert.equal(readFileSync(path.join(first, 'content'), 'utf8'), '1');
  });

  it('leaves nothing behind when making fails, and tries again next time', async () => {
    await assert.rejects(
      cached('two', async (dir) => {
        writeFileSync(path.join(dir, 'half'), '');
        throw new Error('no space');
      }),
      /no space/,
    );
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith('two') && !name.endsWith('.lock')),
      [],
    );
    assert.ok(existsSync(await cached('two', async () => {})));
  });

  it('removes what a killed process left half made', async () => {
    mkdirSync(path.join(folder, 'three.partial/old'), { recursive: true });
    const whole = await cached('three', async (dir) => {
      assert.deepEqual(await readdir(dir), []);
    });
    assert.deepEqual(await readdir(whole), []);
  });

  it('refuses a key that would leave the cache', async () => {
    await assert.rejects(
      cached('../x', async () => {}),
      /Expected a cache key/,
    );
  });
});
