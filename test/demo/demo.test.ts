import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { mountsBelow, type TempTree, tempTree } from '../support/temp-tree.ts';
import { hostPackages } from './preparation.ts';

/**
 * What the rest of the tests do not have: that `npm start` itself succeeds, and that it leaves nothing, also after
 * Ctrl-C.
 */
describe('the demo', () => {
  let tree: TempTree;

  before(async () => {
    await ensureDebianPackages(hostPackages, { install: true });
    tree = await tempTree('dpl-t');
  });
  after(cleanUpAll);

  it('shows the whole job and leaves nothing behind', async () => {
    const demo = start();
    const [code] = await demo.closed;
    assert.equal(code, 0, demo.said());
    assert.match(
      demo.said(),
      /hello from Node v24.*hello.*from Python 3\.11.*containerd's store.*hello from Node v24.*hello.*from Python 3\.11.*READY came [\d.]+ times sooner/s,
    );
    await assertNothingLeft();
  });

  for (const moment of ['losetup --find', 'hello from Node']) {
    it(`leaves nothing behind after Ctrl-C at \`${moment}\``, async () => {
      const demo = start(moment);
      const [code, signal] = await demo.closed;
      assert.deepEqual([code, signal], [null, 'SIGINT'], demo.said());
      await assertNothingLeft();
    });
  }

  /** Starts the demo; Ctrl-C is a SIGINT to its whole process group, once it has said a text. */
  function start(interruptAt?: string): { readonly closed: Promise<[number | null, string | null]>; said(): string } {
    const child: ChildProcess = spawn(process.execPath, [path.join(import.meta.dirname, 'main.ts'), '--no-install'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, TMPDIR: tree.path },
    });
    const closed = once(child, 'close') as Promise<[number | null, string | null]>;
    cleanUpLater('the demo', async () => {
      child.kill('SIGTERM');
      await closed;
    });
    let said = '';
    let interrupted = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (interruptAt === undefined || interrupted || !said.includes(interruptAt)) return;
        interrupted = true;
        process.kill(-(child.pid ?? 0), 'SIGINT');
      });
    }
    return { closed, said: () => said };
  }

  async function assertNothingLeft(): Promise<void> {
    assert.deepEqual(readdirSync(tree.path), []);
    assert.deepEqual(mountsBelow(tree.path), []);
    const { stdout: loops } = await execa('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE']);
    assert.ok(!loops.includes(tree.path), loops);
    const { stdout: groups } = await execa('find', ['/sys/fs/cgroup', '-name', 'dpl-demo-*'], { reject: false });
    assert.equal(groups, '');
    const users = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(commandLine)
      .filter((line) => line.includes(`${tree.path}/`));
    assert.deepEqual(users, []);
  }
});

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
