import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { firstReads, RUNTIME } from '../../agent/tiny/first-reads.ts';
import { rangesOf } from '../../agent/tiny/page-ranges.ts';
import { PAGE_BYTES } from '../../agent/system/will-need.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { hidesPageCache } from '../support/kernel.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { coldProgram, lives } from './cold-program.ts';

const root = path.resolve(import.meta.dirname, '../..');
const AGAIN = 'run `sh test/bootstrap.sh test/tiny/record-first-reads.ts`';
/** Each page that is missed is waited for, with all that the kernel reads around it. */
const MISSED_PAGES = 40;
const LISTED_BYTES = 25e6;

describe('what is read of the whole program before it starts', () => {
  after(() => cleanUpAll());

  it('reads ranges, the last one to the end of the file, and no further', () => {
    assert.deepEqual(rangesOf('\n0 2 1 a\n z 1 5\n', 100), [
      { first: 0, count: 2 },
      { first: 3, count: 10 },
      { first: 48, count: 1 },
      { first: 54, count: 46 },
    ]);
    assert.deepEqual(rangesOf('0 2 1 a z 1 5', 9), [
      { first: 0, count: 2 },
      { first: 3, count: 6 },
    ]);
    assert.deepEqual(rangesOf('', 9), []);
  });

  it('is of the runtime that the program is built with', () => {
    const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      readonly devDependencies: Readonly<Record<string, string>>;
    };
    assert.equal(RUNTIME, devDependencies['@oven/bun-linux-x64-baseline'], AGAIN);
  });

  it('is nearly all that it touches at a boot, and little more', { skip: hidesPageCache() }, async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    const { path: folder } = await tempTree('dpl-cold');
    const cold = await coldProgram(folder);
    const ranges = rangesOf(firstReads, cold.size);
    const listed = new Set(
      ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, index) => first + index)),
    );
    assert.ok(listed.size * PAGE_BYTES <= LISTED_BYTES, `${listed.size} pages are read: ${AGAIN}`);
    for await (const { what, pages, isSmall } of lives(cold, cold.small, path.join(folder, 'lives'))) {
      if (isSmall) {
        assert.equal(pages.length, 0, `${what}: nothing of it is needed`);
        continue;
      }
      const missed = pages.filter((page) => !listed.has(page)).length;
      assert.ok(missed <= MISSED_PAGES, `${what}: ${missed} of ${pages.length} pages were not read before: ${AGAIN}`);
      const isRead = (): boolean => cold.pages().filter((page) => listed.has(page)).length >= listed.size * 0.99;
      await until(`${what}: nearly all of ${listed.size} pages in memory`, isRead);
    }
  });
});
