import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { loadImages } from '../boot/fake-store.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { attach } from '../support/loop-device.ts';
import { makeDiskFile } from './disk-file.ts';
import { tempTree } from '../support/temp-tree.ts';

const PEAK_MB = 100;

describe('the status socket', () => {
  let socketPath: string;
  const peaks: string[] = [];
  let daemon: Daemon | undefined;
  after(async () => {
    const ended = await daemon?.stop();
    await cleanUpAll();
    assert.equal(ended, 0);
  });
  before(async () => {
    const folder = (await tempTree('dpl-socket', 'in-memory')).path;
    const label = `k${process.pid.toString(36)}`;
    const root = path.join(folder, 'tree');
    // As many images as make an answer that does not fit into a socket's buffer.
    loadImages(
      root,
      Array.from({ length: 1000 }, (_, number) => ({
        layers: ['base'],
        note: String(number),
        references: number < 400 ? [`image-${number}:1`] : [],
      })),
    );
    await makeDiskFile(root, path.join(folder, 'disk.ext4'), label);
    await attach(path.join(folder, 'disk.ext4'));
    socketPath = path.join(folder, 'status/status.sock');
    writeFileSync(
      path.join(folder, 'config.json'),
      JSON.stringify({
        labels: [label],
        dataRoot: path.join(folder, 'data'),
        mountRoot: path.join(folder, 'disks'),
        dockerConfig: path.join(folder, 'daemon.json'),
        statusSocket: socketPath,
      }),
    );
    daemon = await startDaemon(path.join(folder, 'config.json'), folder);
    await untilItAnswers();
  });

  /** How long an answer takes, in milliseconds. */
  async function ask(timeoutMs = 10_000): Promise<number> {
    const start = performance.now();
    const asked = request({ socketPath, path: '/v1/status', timeout: timeoutMs, agent: false });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asked.end();
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    assert.equal(response.statusCode, 200);
    assert.equal((JSON.parse(text) as { state: string }).state, 'ok');
    return performance.now() - start;
  }

  async function untilItAnswers(): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        return void (await ask());
      } catch (error) {
        if (tries === 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Opens connections; those that are refused end by themselves. */
  async function open(count: number, first: string): Promise<Socket[]> {
    const sockets = Array.from({ length: count }, () => connect(socketPath));
    for (const socket of sockets) {
      socket.on('error', () => {});
      if (first !== '') socket.write(first);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    return sockets;
  }

  /** Resolves when the other side has closed the connection, which shows only to who reads. */
  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve()).resume();
    });
  const close = (sockets: readonly Socket[]): void => sockets.forEach((socket) => socket.destroy());
  const memory = (): number => {
    const text = readFileSync(`/proc/${String(daemon?.pid)}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+)/m.exec(text)?.[1]) / 1024;
  };

  it('is for root and the group docker', () => {
    const { mode, gid, uid } = statSync(socketPath);
    const group = /^docker:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))?.[1];
    assert.equal(mode & 0o777, 0o660);
    assert.deepEqual([uid, gid], [0, Number(group ?? 0)]);
  });

  it('answers others while there are requests of 1 MB', async () => {
    const large = await open(20, `GET /v1/status HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(1_000_000)}`);
    const bodies = await open(
      20,
      `POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1_000_000)}`,
    );
    const urls = await open(20, `GET /${'x'.repeat(1_000_000)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await ask();
    close([...large, ...bodies, ...urls]);
  });

  it('answers others while there are half requests, and lets go of them', { timeout: 30_000 }, async () => {
    const half = await open(100, 'GET /v1/status HTTP/1.1\r\nHo');
    await ask(20_000);
    await Promise.all(half.map(closed));
  });

  it('answers others among 500 connections', async () => {
    const idle = await open(500, '');
    await ask(20_000);
    close(idle);
    await ask();
  });

  it('answers others while there are slow readers', async () => {
    const slow = await open(60, 'GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20));
    for (const socket of slow) socket.pause();
    await ask(20_000);
    close(slow);
  });

  it('answers what is no HTTP with an error, or not at all', async () => {
    const noise = await open(20, `\u0000\u0016\u0003\u0001${'\u00ff'.repeat(10_000)}\r\n\r\n`);
    await ask();
    close(noise);
  });

  afterEach((test) => {
    peaks.push(`${test.name} ${memory().toFixed(0)}`);
  });

  it(`took less than ${PEAK_MB} MB for all of this`, async (test) => {
    test.diagnostic(
      `the daemon's peak: ${memory().toFixed(0)} MB (${peaks.join(', ')}); an answer takes ${(await ask()).toFixed(0)} ms`,
    );
    assert.ok(memory() < PEAK_MB, `${memory().toFixed(0)} MB`);
  });
});
