import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll, cleanUpLater } from './cleanup.ts';
import { mountsBelow, tempTree } from './temp-tree.ts';

describe('cleanUpAll', () => {
  it('undoes the newest first, each once, and the others too when one fails', async () => {
    const undone: string[] = [];
    cleanUpLater('first', () => {
      undone.push('first');
    });
    const undoSecond = cleanUpLater('second', () => {
      undone.push('second');
    });
    cleanUpLater('third', () => {
      throw new Error('busy');
    });
    cleanUpLater('fourth', async () => {
      undone.push('fourth');
    });
    await undoSecond();
    await undoSecond();
    await assert.rejects(cleanUpAll(), /could not clean up third: busy/);
    assert.deepEqual(undone, ['second', 'fourth', 'first']);
    await cleanUpAll();
  });

  it('undoes what is registered meanwhile before what it may stand on', async () => {
    const undone: string[] = [];
    cleanUpLater('folder', () => {
      undone.push('folder');
    });
    cleanUpLater('dockerd', () => {
      undone.push('dockerd');
      cleanUpLater('agent', () => {
        undone.push('agent');
      });
    });
    await cleanUpAll();
    assert.deepEqual(undone, ['dockerd', 'agent', 'folder']);
  });
});

describe('tempTree', () => {
  it('takes stacked mounts with it', async () => {
    const tree = await tempTree();
    const inner = path.join(tree.path, 'a b');
    mkdirSync(inner);
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', inner]);
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', inner]);
    assert.deepEqual(mountsBelow(tree.path), [inner, inner]);
    await tree.remove();
    assert.deepEqual(mountsBelow(tree.path), []);
    assert.equal(existsSync(tree.path), false);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`is gone after ${signal}, which then ends the process`, async () => {
      const script = `
        import { tempTree } from ${JSON.stringify(path.join(import.meta.dirname, 'temp-tree.ts'))};
        console.log((await tempTree()).path);
        setInterval(() => {}, 1000);`;
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const folder = line.toString().trim();
      assert.ok(existsSync(folder));
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [null, signal]);
      assert.equal(existsSync(folder), false);
    });
  }
});
