import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { persist, PassingFault, SilenceFault } from '../../../agent/builder/source/client-fault.ts';
import { ImageClients, type TalkLimits } from '../../../agent/builder/source/image-clients.ts';
import { watchSilence } from '../../../agent/builder/source/silence.ts';
import type { PreloaderError } from '../../../agent/system/errors.ts';
import { bytesMoved } from '../../../agent/system/processes.ts';
import { agent, agentCommand } from '../../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../../support/cleanup.ts';
import { dockerArchive } from '../../support/docker-archive.ts';
import { imageTools, type ImageTools } from '../../support/image-tools.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { until } from '../../support/until.ts';

/** What is awaited for minutes, in a test. */
const LIMITS: TalkLimits = { silenceMs: 1500, takenMs: 2500 };
const SILENT = (name: string, seconds: number): string =>
  `${name}: expected the registry to go on, found that nothing was sent or taken for ${seconds} s`;
const noProgress = { onBegin: (): void => undefined, onBytes: (): void => undefined };

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A registry that takes connections, and never says a word. */
async function silentRegistry(): Promise<{ readonly address: string; readonly asked: () => number }> {
  let asked = 0;
  const server = createServer((socket) => {
    asked += 1;
    socket.on('error', () => undefined);
    cleanUpLater('a silent connection', () => void socket.destroy());
  });
  const address = await listen(server);
  cleanUpLater('a silent registry', () => void server.close());
  return { address, asked: () => asked };
}

/** One to which images are pushed, but for what it does with a blob. */
async function takingRegistry(
  take: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly address: string; readonly uploads: () => number }> {
  let uploads = 0;
  const server = createHttpServer((request, response) => {
    if (request.method === 'POST') return void response.writeHead(202, { location: '/v2/x/blobs/uploads/1' }).end();
    if (request.method === 'HEAD') return void response.writeHead(404).end();
    if (request.method === 'PUT') return void delay(1000).then(() => response.writeHead(400).end());
    if (request.method !== 'PATCH') return void response.writeHead(200).end();
    uploads += 1;
    take(request, response);
  });
  const address = await listen(server);
  cleanUpLater('a registry that takes', () => {
    server.closeAllConnections();
    server.close();
  });
  return { address, uploads: () => uploads };
}

// What is waited for does not need the processor.
describe('a registry that is silent', { concurrency: 5 }, () => {
  let tree: TempTree;
  let tools: ImageTools;
  const environmentBefore = { ...process.env };
  const at = (name: string): string => path.join(tree.path, name);
  const clients = (told: string[], limits = LIMITS): ImageClients =>
    new ImageClients(tree.path, { authFile: undefined, insecure: true }, (text) => told.push(text), limits);

  before(async () => {
    tree = await tempTree('dpl-silence');
    for (const folder of ['out', 'temporary']) mkdirSync(at(folder));
    tools = await imageTools(tree.path);
    Object.assign(process.env, tools.env);
    const layers = [[{ name: 'large', content: randomBytes(24_000_000) }]];
    writeFileSync(at('app.tar'), await dockerArchive([{ tags: ['app:1'], layers }]));
    const args = ['build', '--quiet', at('app.tar'), '--format', 'containerdisk', '-o', at('disk.tar')];
    const { exitCode, all } = await agent(args);
    assert.equal(exitCode, 0, all);
  });
  after(async () => {
    Object.assign(process.env, environmentBefore);
    await cleanUpAll();
  });

  for (const [what, talk] of [
    ['for what a name leads to', (it: ImageClients, name: string) => it.inspect('manifest', name, name, 1000)],
    ['for a disk', (it: ImageClients, name: string) => it.fetch(name, 'fetched', 10_000_000, noProgress)],
    ['to take a disk', (it: ImageClients, name: string) => it.push('disk.tar', name, 24_000_000, noProgress)],
  ] as const)
    it(`is asked ${what} twice, which is told, and given up in one line`, async () => {
      const { address, asked } = await silentRegistry();
      const name = `docker://${address}/x:1`;
      const told: string[] = [];
      await assert.rejects(async () => await talk(clients(told), name), { message: SILENT(name, 1.5) });
      assert.ok(asked() >= 2);
      assert.deepEqual(
        told.filter((line) => line.startsWith('trying again')),
        [`trying again in 1 s: ${SILENT(name, 1.5)}`],
      );
      assert.match(
        told[0] ?? '',
        /: waiting for the registry: nothing was sent or taken for \d s, and is waited for 1\.5 s$/,
      );
    });

  it('in the middle of an upload is asked again, and given up', async () => {
    const { address, uploads } = await takingRegistry((request) => {
      request.once('data', () => request.pause());
    });
    const name = `docker://${address}/x:1`;
    const told: string[] = [];
    await assert.rejects(clients(told).push('disk.tar', name, statSync(at('disk.tar')).size, noProgress), {
      message: SILENT(name, 1.5),
    });
    assert.equal(uploads(), 2);
  });

  it('has more time with all of a disk, is not sent it again, and is told to go on when it does', async () => {
    const { address, uploads } = await takingRegistry((request) => void request.resume());
    const name = `docker://${address}/x:1`;
    const layerBytes = 24_000_000;
    const told: string[] = [];
    let written = 0;
    const counted = { onBegin: (): void => undefined, onBytes: (bytes: number) => void (written += bytes) };
    await assert.rejects(clients(told).push('disk.tar', name, layerBytes, counted), { message: SILENT(name, 2.5) });
    assert.equal(uploads(), 1);
    assert.ok(written >= 2 * layerBytes, `${written} bytes`);
    assert.ok(!told.some((line) => line.startsWith('trying again')), told.join('\n'));

    const late = await takingRegistry((request, response) => {
      request.resume();
      const headers = { location: '/v2/x/blobs/uploads/1', 'x-long': 'x'.repeat(1000) };
      request.once('end', () => void delay(1000).then(() => response.writeHead(202, headers).end()));
    });
    const goesOn: string[] = [];
    await assert.rejects(clients(goesOn).push('disk.tar', `docker://${late.address}/x:1`, layerBytes, noProgress));
    assert.ok(
      goesOn.some((line) => line.endsWith(': the registry goes on')),
      goesOn.join('\n'),
    );
  });

  describe('before it has said a word', { concurrency: 1 }, () => {
    for (const [what, args] of [
      ['build', (name: string) => ['build', name, '-o', at('out/disk.qcow2')]],
      ['pull', (name: string) => ['pull', name, '-o', at('out/disk.qcow2')]],
      ['build --push', (name: string) => ['build', at('app.tar'), '--push', name]],
    ] as const)
      it(`ends at once where Ctrl-C ends ${what}, and leaves nothing`, async () => {
        const { address, asked } = await silentRegistry();
        const [command, ...first] = agentCommand();
        const child = spawn(command, [...first, ...args(`docker://${address}/x:1`), '--insecure'], {
          stdio: ['ignore', 'ignore', 'pipe'],
          env: { ...process.env, TMPDIR: at('temporary') },
        });
        let said = '';
        child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
        const ended = once(child, 'exit');
        await until('a connection', () => asked() > 0);
        const start = performance.now();
        child.kill('SIGINT');
        assert.deepEqual(await ended, [null, 'SIGINT']);
        assert.ok(performance.now() - start < 2000);
        assert.match(said, what === 'build --push' ? /^pushing 24\.\d MB to docker:/m : /^asking for docker:/m);
        assert.deepEqual([readdirSync(at('out')), readdirSync(at('temporary'))], [[], []]);
      });
  });
});

describe('a client that is watched', () => {
  it('is not ended where the kernel does not count its bytes, or it moves', async () => {
    assert.equal(bytesMoved(2 ** 22 + 1), undefined);
    assert.ok((bytesMoved(process.pid)?.read ?? 0) > 0);
    const faults: PreloaderError[] = [];
    const patience = (): { limitMs: number; isAskedAgain: boolean } => ({ limitMs: 400, isAskedAgain: true });
    const watched = (pid: number): (() => void) =>
      watchSilence(
        pid,
        { name: 'x', patience },
        () => undefined,
        (fault) => faults.push(fault),
      );
    const busy = spawn('sh', ['-c', 'while :; do head -c 2000 /dev/zero; sleep 0.1; done'], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    const ends = [watched(2 ** 22 + 1), watched(busy.pid ?? 0)];
    await delay(1200);
    for (const end of ends) end();
    busy.kill('SIGKILL');
    assert.deepEqual(faults, []);
  });

  for (const [fault, times] of [
    [SilenceFault, 2],
    [PassingFault, 4],
  ] as const)
    it(`is tried ${times} times where it fails with ${fault.name}`, async (t) => {
      t.mock.timers.enable({ apis: ['setTimeout'] });
      let tried = 0;
      const failing = persist(
        async () => {
          tried += 1;
          if (tried < times) setImmediate(() => t.mock.timers.tick(4000));
          return await Promise.reject(new fault('BUILD_FAILED', 'x'));
        },
        () => undefined,
      );
      await assert.rejects(failing, { message: 'x' });
      assert.equal(tried, times);
    });
});
