import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { writeDisklessConfig } from '../support/diskless-config.ts';
import { tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
let folder: string;
let config: string;

before(async () => {
  folder = (await tempTree('dpl-as-started', 'in-memory')).path;
  mkdirSync(path.join(folder, 'data'));
  config = writeDisklessConfig(folder).configFile;
});
after(() => cleanUpAll());

/** What each executable says and how it ends. @param before what a shell does first */
async function outcomes(args: readonly string[], before = ''): Promise<readonly [small: unknown, whole: unknown]> {
  const [small, whole] = await Promise.all(
    [built.small, built.whole].map(async (name) => {
      const program = path.join(root, 'dist', name);
      const ran = await execa('sh', ['-c', `${before} exec "$0" "$@"`, program, ...args], {
        reject: false,
        stdin: 'ignore',
        cwd: folder,
      });
      return {
        ended: ran.exitCode ?? ran.signal,
        stdout: ran.stdout.replaceAll(/\d+ ms\b/g, 'N ms'),
        stderr: ran.stderr,
      };
    }),
  );
  return [small, whole];
}

describe('the small executable is as the whole one', () => {
  it('where it is given thousands of words', async () => {
    const [small, whole] = await outcomes(['build', ...Array.from({ length: 3000 }, () => 'none.tar'), '-o', 'x']);
    assert.deepEqual(small, whole);
    assert.match(JSON.stringify(whole), /none\.tar: expected an archive, found no such file/);
  });

  it('where no file may grow', async () => {
    const [small, whole] = await outcomes(['apply', '--config', config], 'ulimit -f 0;');
    assert.deepEqual(small, whole);
    assert.match(JSON.stringify(whole), /larger than a file may be there/);
  });

  it('where a path is longer than any may be', async () => {
    const [small, whole] = await outcomes(['apply', '--config', `/${'x'.repeat(20_000)}`]);
    assert.deepEqual(small, whole);
    assert.match(JSON.stringify(whole), /a name that is too long/);
  });
});
