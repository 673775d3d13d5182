import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { buildByShell } from './build-by-shell.ts';
import { savedArchive } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

/**
 * Obeyed by a terminal: a colour, a title, the start of the line, and what is not even a control character in UTF-8.
 */
const ODD = 'a\u001b[31mb\u001b]0;title\u0007c\rd\u009b31me\u202ef.tar';

describe('the progress of a build', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const [command, ...first] = agentCommand();
  const shell = (script: string): ReturnType<typeof buildByShell> => buildByShell(script, tree.path);
  before(async () => {
    tree = await tempTree('dpl-progress');
    for (const name of ['tmp', 'out']) mkdirSync(at(name));
    const layers = [makeTar([{ name: 'one', content: 'one' }]), makeTar([{ name: 'two', content: 'two' }])];
    for (const name of ['one.tar', ODD]) writeFileSync(at(name), savedArchive([{ tags: ['one:1'], layers }]));
  });
  after(cleanUpAll);

  it('is lost where it cannot be written, and the disk is made all the same', async () => {
    for (const [name, redirected] of [
      ['full.raw', '$build one.tar -o out/full.raw 2>/dev/full'],
      ['closed.raw', '$build one.tar -o out/closed.raw 2>&-'],
      ['gone.raw', '{ $build one.tar -o out/gone.raw; echo $? >&3; } 3>status 2> >(:); exit $(cat status)'],
      ['full.raw', '$build one.tar -o - 2>/dev/full >/dev/null'],
    ] as const) {
      assert.equal((await shell(redirected)).exitCode, 0, redirected);
      assert.ok(readdirSync(at('out')).includes(name), redirected);
    }
    assert.deepEqual(readdirSync(at('out')).toSorted(), ['closed.raw', 'full.raw', 'gone.raw']);
  });

  it('shows what a terminal would obey', async () => {
    const { exitCode, stderr } = await shell(`$build $'${JSON.stringify(ODD).slice(1, -1)}' -o out/odd.raw`);
    assert.equal(exitCode, 0, stderr);
    const shown = String.raw`a\\x1b\[31mb\\x1b\]0;title\\x07c\\x0dd\\x9b31me\\x202ef\.tar`;
    assert.match(stderr, new RegExp(`^reading ${shown}\nlayer 1 of 2: \\w{12} of ${shown}\nlayer 2 of 2: .*\n`));
    // oxlint-disable-next-line no-control-regex -- it looks for control characters
    assert.doesNotMatch(stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });

  it('is a line for each step on a terminal that cannot draw over a line', async () => {
    const words = [command, ...first, 'build', at('one.tar'), '-o', at('out/dumb.raw')].join(' ');
    const { stdout } = await execa('script', ['--quiet', '--return', '--command', words, '/dev/null'], {
      env: { TERM: 'dumb' },
      stdin: 'ignore',
    });
    assert.match(stdout, /^reading .*one\.tar\r\n/);
    assert.ok(!stdout.includes('\u001b'), JSON.stringify(stdout));
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    it(`leaves nothing behind where ${signal} ends it`, async () => {
      const child = spawn(command, [...first, 'build', '-', '-o', at('out/none.raw')], {
        stdio: ['pipe', 'ignore', 'pipe'],
        // A core of a whole runtime is 100 MB.
        cwd: at('tmp'),
      });
      await once(child.stderr, 'readable');
      assert.equal(readdirSync(at('out')).filter((name) => name.startsWith('.')).length, 1);
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [null, signal]);
      assert.deepEqual(
        readdirSync(at('out')).filter((name) => name.startsWith('.')),
        [],
      );
    });
  }
});
