import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { built } from '../../agent/packaging/build-program.ts';
import { askAgent } from '../support/ask-agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { startDaemon } from '../support/daemon.ts';
import { writeDisklessConfig } from '../support/diskless-config.ts';
import { tempTree } from '../support/temp-tree.ts';

const RESIDENT_KB = 5 * 1024;
/** A second is waited for who it is, and five for what it has; the rest is for a busy machine. */
const WITHIN_MS = 9000;

let folder: string;

before(async () => {
  folder = (await tempTree('dpl-silent', 'in-memory')).path;
});
after(() => cleanUpAll());

it('a containerd that takes connections and never answers keeps neither READY nor a client waiting, and no memory', async () => {
  const address = path.join(folder, 'containerd.sock');
  const taken = new Set<Socket>();
  const server = createServer((socket) => {
    taken.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(address);
  await once(server, 'listening');
  mkdirSync(path.join(folder, 'data'));
  const { configFile, socket } = writeDisklessConfig(folder, { store: 'containerd', containerdAddress: address });
  try {
    const began = performance.now();
    const daemon = await startDaemon(configFile, folder);
    assert.ok(performance.now() - began < WITHIN_MS, `${performance.now() - began} ms`);
    const asked = performance.now();
    await askAgent(socket, '/v1/status');
    assert.ok(performance.now() - asked < WITHIN_MS, `${performance.now() - asked} ms`);
    await delay(6000);
    assert.ok(taken.size > 0, daemon.log());
    assert.equal(readlinkSync(`/proc/${daemon.pid}/exe`), path.resolve(import.meta.dirname, '../../dist', built.small));
    const residentKb = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]);
    assert.ok(residentKb <= RESIDENT_KB, `${residentKb} kB`);
    assert.equal(await daemon.stop(), 0);
  } finally {
    for (const each of taken) each.destroy();
    server.close();
  }
});
