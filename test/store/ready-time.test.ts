import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { askAgent } from '../support/ask-agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { attach, copyWithLabel, type LoopDevice } from '../support/loop-device.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { type TempTree, tempTree, unmountBelow } from '../support/temp-tree.ts';
import { twelveLayers } from './twelve-layers.ts';

after(cleanUpAll);

const ROUNDS = 7;
const MAX_RESIDENT_KB = 45 * 1024;
/** The agent lets go of what only its start needed, a moment after READY. */
const SMALL_WITHIN_MS = 10_000;

/** Both do the same steps on the same disk, in turns; the medians are compared, for the machine is noisy. */
describe('the agent against a shell script that does the same steps', () => {
  let tree: TempTree;
  let loop: LoopDevice;

  before(async () => {
    await ensureDebianPackages(['rsync', 'jq', 'curl'], { install: true });
    tree = await tempTree('dpl-time');
    const disk = path.join(tree.path, 'disk.ext4');
    await copyWithLabel(await twelveLayers(), disk, `rt${process.pid.toString(36)}`);
    loop = await attach(disk);
  });
  after(async () => {
    await tree.remove();
    await loop.detach();
  });

  it('is READY sooner, and small after it', async (test) => {
    const agentMs: number[] = [];
    const shellMs: number[] = [];
    let residentKb = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      shellMs.push(await timeShell(round));
      const run = await timeAgent(round);
      agentMs.push(run.readyMs);
      residentKb = Math.max(residentKb, run.residentKb);
    }
    const ratio = median(agentMs) / median(shellMs);
    test.diagnostic(
      `12 layers: agent ${median(agentMs).toFixed(0)} ms, shell script ${median(shellMs).toFixed(0)} ms, ratio ${ratio.toFixed(2)}, resident ${(residentKb / 1024).toFixed(0)} MB`,
    );
    assert.ok(ratio < 1, `the agent takes ${ratio.toFixed(2)} of the shell script's time`);
    assert.ok(residentKb < MAX_RESIDENT_KB, `expected at most ${MAX_RESIDENT_KB} KB resident, found ${residentKb}`);
  });

  async function timeShell(round: number): Promise<number> {
    const folder = path.join(tree.path, `shell-${round}`);
    const start = performance.now();
    await execa('bash', [
      path.join(import.meta.dirname, 'fill-store.sh'),
      path.join(folder, 'data'),
      path.join(folder, 'disks'),
      loop.device,
    ]);
    const took = performance.now() - start;
    await unmountBelow(folder);
    await rm(folder, { recursive: true });
    return took;
  }

  async function timeAgent(round: number): Promise<{ readonly readyMs: number; readonly residentKb: number }> {
    const folder = path.join(tree.path, `agent-${round}`);
    await mkdir(folder);
    const config = path.join(folder, 'config.json');
    await writeFile(
      config,
      JSON.stringify({
        labels: [`rt${process.pid.toString(36)}*`],
        dataRoot: path.join(folder, 'data'),
        mountRoot: path.join(folder, 'disks'),
        statusSocket: path.join(folder, 'run/status.sock'),
        dockerConfig: path.join(folder, 'daemon.json'),
        deviceTimeoutSec: 5,
      }),
    );
    const socket = await notifySocket(path.join(folder, 'notify'));
    const start = performance.now();
    const daemon = spawnDaemon(config, folder, { NOTIFY_SOCKET: socket.path });
    const readyMs = (await socket.waitFor('READY=1')) - start;
    // The status is served by then, so everything that stays loaded is.
    const stdout = await askAgent(path.join(folder, 'run/status.sock'), '/v1/status');
    const status = JSON.parse(stdout) as { readonly state: string; readonly changes: number };
    assert.equal(status.state, 'ok', stdout);
    assert.ok(status.changes > 12, stdout);
    const residentKb = await residentKbOf(daemon.pid);
    const stopped = performance.now();
    assert.equal(await daemon.stop(), 0);
    assert.ok(performance.now() - stopped < 1000, 'SIGTERM: expected an exit within 1 s');
    await socket.close();
    await unmountBelow(folder);
    await rm(folder, { recursive: true });
    return { readyMs, residentKb };
  }
});

async function residentKbOf(pid: number): Promise<number> {
  const deadline = performance.now() + SMALL_WITHIN_MS;
  for (;;) {
    const residentKb = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    if (residentKb < MAX_RESIDENT_KB || performance.now() > deadline) return residentKb;
    await delay(50);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
