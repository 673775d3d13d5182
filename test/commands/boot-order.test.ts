import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { execa } from 'execa';
import { aDocument } from '../boot-order/a-document.ts';
import { agent, agentCommand } from '../support/agent.ts';
import { scratch } from '../support/temp-tree.ts';

function captured(t: TestContext): { readonly folder: string; readonly file: string; readonly text: string } {
  const folder = scratch(t);
  const file = path.join(folder, 'boot.json');
  const text = JSON.stringify(aDocument());
  writeFileSync(file, text);
  return { folder, file, text };
}

describe('the chart of a boot', () => {
  it('is never what it is drawn from, under whatever name', async (t) => {
    const { folder, file, text } = captured(t);
    linkSync(file, path.join(folder, 'hard.json'));
    for (const name of ['boot.json', 'hard.json', '../' + path.basename(folder) + '/boot.json']) {
      const { exitCode, stderr } = await agent(['boot-order', file, '--svg', path.join(folder, name)]);
      assert.equal(exitCode, 1, stderr);
      assert.match(stderr, /expected an output that is none of the inputs, found the boot order .*: choose another$/);
    }
    assert.equal((await agent(['boot-order', file, '--check', '--svg', file])).exitCode, 2);
    assert.equal(readFileSync(file, 'utf8'), text);
  });

  it('replaces nothing but its own file', async (t) => {
    const { folder, file } = captured(t);
    const chart = path.join(folder, 'boot.svg');
    writeFileSync(`${chart}.docker-preloader`, "the user's");
    for (const _ of ['new', 'replaced']) assert.equal((await agent(['boot-order', file, '--svg', chart])).exitCode, 0);
    assert.equal(readFileSync(`${chart}.docker-preloader`, 'utf8'), "the user's");
    assert.match(readFileSync(chart, 'utf8'), /^<svg .*<\/svg>\s*$/s);
    assert.deepEqual(readdirSync(folder).toSorted(), ['boot.json', 'boot.svg', 'boot.svg.docker-preloader']);
  });

  it('is put where a disk would be put, too', async (t) => {
    const { folder, file } = captured(t);
    symlinkSync('boot.svg', path.join(folder, 'link'));
    mkdirSync(path.join(folder, 'folder'));
    for (const [name, found] of [
      ['link', 'a symlink: name the file itself'],
      ['folder', 'a folder: name a file in it'],
      ['/dev/null', 'something else: --svg - writes to standard output'],
    ] as const) {
      const { exitCode, stderr } = await agent(['boot-order', file, '--svg', path.resolve(folder, name)]);
      assert.equal(exitCode, 1, stderr);
      assert.ok(stderr.endsWith(`expected a regular file to replace, or nothing, found ${found}`), stderr);
    }
    assert.match((await agent(['boot-order', file, '--svg', '-'])).stdout, /^<svg .*<\/svg>\s*$/s);
    const both = await agent(['boot-order', file, '--svg', '-', '--json']);
    assert.deepEqual([both.exitCode, both.stdout], [2, '']);
  });
});

describe('a captured boot', () => {
  const [command, ...first] = agentCommand();

  it('is read of a pipe, and of nothing longer than it can be', async (t) => {
    const { folder, file } = captured(t);
    const piped = await execa('sh', ['-c', 'cat "$0" | "$@" boot-order -', file, command, ...first]);
    assert.match(piped.stdout, /Critical path to docker\.service/);
    truncateSync(path.join(folder, 'boot.json'), 3e9);
    for (const input of [file, '/dev/zero']) {
      // Without a bound, it is killed before it has all.
      const { exitCode, stderr } = await execa(
        'sh',
        ['-c', 'ulimit -t 20; exec "$@" boot-order "$0"', input, command, ...first],
        { reject: false },
      );
      assert.equal(exitCode, 1, stderr);
      assert.match(stderr, /expected at most 16777216 bytes, found more$/);
    }
  });
});
