import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { silentFolder } from '../support/silent-folder.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';

const TIMEOUT_SEC = 2;

interface Applied {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a server does not answer is waited for in the kernel, where nothing ends it. */
describe('apply with sources', () => {
  let folder = '';
  const below = (name: string): string => path.join(folder, name);
  before(async () => {
    folder = (await tempTree('dpl-silent')).path;
    mkdirSync(below('docker/overlay2'), { recursive: true });
    writeFileSync(below('daemon.json'), '{}');
  });
  after(cleanUpAll);

  const apply = async (source: string, ...options: readonly string[]): Promise<Applied> => {
    const config = {
      labels: [`silent-${process.pid}`.slice(0, 16)],
      sources: [source],
      deviceTimeoutSec: 0,
      dataRoot: below('docker'),
      dockerConfig: below('daemon.json'),
      mountRoot: below('mounts'),
      statusSocket: below('run/s.sock'),
    };
    writeFileSync(below('config.json'), JSON.stringify(config));
    const [command, ...words] = agentCommand();
    // Files, since what hangs would hold a pipe open.
    const files = ['stdout', 'stderr'].map((name) => openSync(below(name), 'w'));
    const running = spawn(command, [...words, 'apply', '--config', 'config.json', ...options], {
      cwd: folder,
      stdio: ['ignore', ...files],
    });
    const [exitCode, signal] = (await once(running, 'exit')) as [number | null, string | null];
    for (const file of files) closeSync(file);
    return {
      exitCode,
      signal,
      stdout: readFileSync(below('stdout'), 'utf8'),
      stderr: readFileSync(below('stderr'), 'utf8'),
    };
  };

  /** Processes of the agent. */
  const running = (): string =>
    execFileSync('sh', ['-c', 'ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -F -- "-> $1" || true', 'sh', folder], {
      encoding: 'utf8',
    });

  it('ends by its time limit where a folder does not answer, and so lets Docker start', async () => {
    const end = await silentFolder(below('silent'));
    const start = performance.now();
    const { signal } = await apply(below('silent'), '--degraded-ok', '--timeout', String(TIMEOUT_SEC));
    const tookSec = (performance.now() - start) / 1000;
    assert.equal(signal, 'SIGALRM');
    assert.ok(tookSec >= TIMEOUT_SEC && tookSec < TIMEOUT_SEC + 15, `${tookSec} s`);
    assert.notEqual(running(), '');
    await end();
    // What hung goes with the server, and has changed nothing.
    await until('the end of what hung', () => running() === '');
    assert.equal(existsSync(below('docker/image')), false);
  });

  it('says and returns the same in its process of its own', async () => {
    mkdirSync(below('open'));
    chmodSync(below('open'), 0o777);
    const degraded = await apply(below('open'));
    assert.equal(degraded.exitCode, 3, degraded.stderr);
    assert.match(degraded.stdout, /^degraded: /m);
    assert.match(degraded.stderr, /source .*open: expected that root alone can change it/);
    assert.equal((await apply(below('open'), '--degraded-ok')).exitCode, 0);
    assert.equal((await apply(below('open'), '--degraded-ok', '--only', 'overlay2', '--timeout=9')).exitCode, 0);
  });
});
