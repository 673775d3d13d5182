import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { defaultConfig } from '../../agent/config/config.ts';
import { fetchStatus } from '../../agent/status/client.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { bootRecord, hasBeenReady, withBootTimes } from '../../agent/status/boot-times.ts';
import { eventsOf } from '../../agent/status/journal-entries.ts';
import { lastStatus, publish, publishedStatus } from '../../agent/status/publish.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { serveStatus, type Routes } from '../../agent/status/server.ts';
import { stateOf, states } from '../../agent/status/state.ts';
import { codes, type Code } from '../../agent/messages/codes.ts';
import { factsOf } from '../boot/fake-store.ts';
import { scratch } from '../support/scratch.ts';
import { app, aRun, finding, later } from './a-run.ts';

describe('the state', () => {
  for (const { found, disks, state } of [
    { found: [], disks: 1, state: 'ok' },
    { found: [], disks: 0, state: 'empty' },
    { found: ['TAG_CONFLICT', 'DOCKER_RUNNING', 'LEDGER_INVALID'], disks: 1, state: 'ok' },
    { found: ['IMAGE_INCOMPLETE', 'TAG_CONFLICT'], disks: 1, state: 'degraded' },
    { found: ['DISK_DIRTY'], disks: 0, state: 'degraded' },
    { found: ['IMAGE_INCOMPLETE', 'REQUIRED_MISSING'], disks: 1, state: 'failed' },
  ] as readonly { found: Code[]; disks: number; state: keyof typeof states }[]) {
    it(`is ${state} with ${found.join(', ') || 'nothing found'} and ${disks} disks`, () =>
      assert.equal(
        stateOf(
          found.map((code) => finding(code)),
          disks,
        ),
        state,
      ));
  }

  it('of each code alone is what the code says', () => {
    for (const code of Object.keys(codes) as Code[])
      assert.equal(stateOf([finding(code)], 1), codes[code].effect === 'none' ? 'ok' : codes[code].effect);
  });

  it('has the exit status that the documentation names', () => {
    assert.deepEqual(Object.fromEntries(Object.entries(states).map(([state, { exitStatus }]) => [state, exitStatus])), {
      ok: 0,
      empty: 0,
      degraded: 3,
      failed: 1,
    });
  });
});

describe('the status', () => {
  it('tells of disks, images and what was changed', (t) => {
    const run = aRun(t);
    const status = statusDocument(run, later(run, 42));
    assert.equal(status.summary, `ok: 1 disk, 1 image, 2 layers, ${run.plan?.steps.length ?? 0} changes, 42 ms`);
    assert.deepEqual(status.disks, [
      {
        label: 'dpl-a',
        device: '/dev/vdb',
        filesystem: 'erofs',
        sizeBytes: 8192,
        mountPoint: run.disks[0]?.mounted.path,
        images: 1,
        layers: 2,
        layerBytes: 'baseapp'.length,
        manifestDigest: null,
        state: 'in-use',
        adopted: false,
        sharedLayers: 0,
        error: null,
      },
    ]);
    assert.deepEqual(status.images, [
      {
        id: factsOf(app).id,
        references: ['app:1'],
        disk: 'dpl-a',
        usable: true,
        code: null,
        reason: null,
        dockerReferences: ['app:1'],
      },
    ]);
    assert.deepEqual(
      [status.state, status.applied, status.pending, status.changes],
      ['ok', true, [], run.plan?.steps.length],
    );
  });

  it('lists as pending what was not done', (t) => {
    const run = aRun(t, { applied: false, isDockerRunning: true, findings: [finding('DOCKER_RUNNING')] });
    const status = statusDocument(run, later(run, 1));
    assert.equal(status.pending.length, run.plan?.steps.length);
    assert.equal(status.changes, 0);
    assert.match(
      status.pending.join('\n'),
      /^note in the ledger what will be there\nmake the empty layer.*\nlink layer sha256:[0-9a-f]{12} to .*\nrecord layer/,
    );
    assert.match(status.summary, /changes pending: run systemctl restart docker/);
  });

  it('names the worst in its summary, in one line', (t) => {
    const run = aRun(t, {
      findings: [finding('TAG_CONFLICT'), finding('IMAGE_INCOMPLETE', 'this is worse'), finding('DISK_DIRTY')],
    });
    assert.match(statusDocument(run, later(run, 1)).summary, /^degraded: this is worse \(and 2 more\); 1 disk/);
    const empty = aRun(t, { disks: [], plan: undefined, applied: false, dataRoot: undefined });
    assert.match(
      statusDocument(empty, later(empty, 1)).summary,
      /^empty: 0 disks, 0 images, 0 layers, nothing changed/,
    );
  });

  it("is published in files that everybody may read, and the boot's times stay", (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const run = aRun(t);
    assert.equal(hasBeenReady(config), false);
    publish(config, statusDocument(run, 1_000_000), 'run');
    assert.equal(hasBeenReady(config), true);
    publish(config, statusDocument(run, 2_000_000), 'run');
    const folder = path.dirname(config.statusSocket);
    assert.equal((JSON.parse(publishedStatus(config) ?? '') as StatusDocument).readyUsec, 2_000_000);
    assert.equal(
      (JSON.parse(readFileSync(path.join(folder, 'boot.json'), 'utf8')) as StatusDocument).readyUsec,
      1_000_000,
    );
    for (const name of ['status.json', 'metrics.prom', 'boot.json'])
      assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o644);
  });

  it('of an earlier boot is none of this one, and a damaged record neither', (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const file = path.join(path.dirname(config.statusSocket), 'boot.json');
    const run = aRun(t);
    publish(config, statusDocument(run, 1_000_000), 'run');
    const record = JSON.parse(readFileSync(file, 'utf8')) as object;
    for (const text of [
      JSON.stringify({ ...record, boot: 'another' }),
      JSON.stringify({ ...record, boot: undefined }),
      '',
      '{',
      'null',
      '5',
      '\0\0',
    ]) {
      writeFileSync(file, text);
      assert.deepEqual(
        [hasBeenReady(config), publishedStatus(config), lastStatus(config)],
        [false, undefined, undefined],
        text,
      );
      assert.equal(withBootTimes(config, statusDocument(run, 3_000_000)).readyUsec, 3_000_000);
      publish(config, statusDocument(run, 2_000_000), 'run');
      assert.equal((JSON.parse(readFileSync(file, 'utf8')) as StatusDocument).readyUsec, 2_000_000);
    }
  });

  it('notes that a daemon was there, once one was, and keeps the times of the first', (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const told: unknown[] = [];
    for (const [command, readyUsec] of [
      ['apply', 1],
      ['apply', 2],
      ['run', 3],
      ['apply', 4],
      ['run', 5],
    ] as const) {
      publish(config, statusDocument(aRun(t), readyUsec), command);
      const record = bootRecord(config);
      told.push([record?.command, record?.readyUsec]);
    }
    assert.deepEqual(told, [
      ['apply', 1],
      ['apply', 1],
      ['run', 1],
      ['run', 1],
      ['run', 1],
    ]);
  });

  it('lists nothing as pending, and advises no restart of Docker, where that would not help', (t) => {
    for (const [code, message] of [
      ['STORE_WRITE', '/var/lib/docker: ENOSPC'],
      ['STORE_UNSUPPORTED', 'overlay2 cannot be used there'],
    ] as const) {
      const run = aRun(t, { applied: false, findings: [finding(code, message)] });
      const status = statusDocument(run, later(run, 1));
      assert.deepEqual([status.pending, status.applied, status.changes], [[], false, 0]);
      assert.match(
        status.summary,
        new RegExp(
          `^\\w+: ${message}; 1 disk, 1 image, 2 layers, ${run.plan?.steps.length ?? 0} changes not made, 1 ms$`,
        ),
      );
      assert.deepEqual(
        eventsOf(status)
          .map(({ name }) => name)
          .filter((name) => name === 'PENDING'),
        [],
      );
      assert.deepEqual(
        status.images.map((image) => image.code),
        [code],
      );
      assert.doesNotMatch(JSON.stringify(status), /restart docker/);
    }
  });

  it('that cannot be written is no failure', (t) => {
    const folder = scratch(t);
    writeFileSync(path.join(folder, 'run'), 'a file where a folder belongs');
    publish(
      { ...defaultConfig(), statusSocket: path.join(folder, 'run/status.sock') },
      statusDocument(aRun(t), 1),
      'run',
    );
  });
});

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

function ask(socketPath: string, method: string, url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path: url, headers: { Connection: 'close' } }, (response) => {
      let body = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => (body += chunk))
        .on('end', () => resolve({ status: response.statusCode, type: response.headers['content-type'], body }));
    });
    call.on('error', reject).end();
  });
}

describe('the status socket', () => {
  const serve = async (t: TestContext, routes: Routes): Promise<string> => {
    const socketPath = path.join(scratch(t), 'run/s.sock');
    const server = await serveStatus({ path: socketPath, fd: undefined }, routes);
    t.after(() => server.close());
    return socketPath;
  };
  const json = (body: string | undefined): Routes => ({ '/v1/status': { type: 'application/json', body: () => body } });

  it('answers GET and HEAD, and nothing else', async (t) => {
    const socketPath = await serve(t, json('{"state":"ok"}'));
    assert.deepEqual(await ask(socketPath, 'GET', '/v1/status'), {
      status: 200,
      type: 'application/json',
      body: '{"state":"ok"}',
    });
    assert.deepEqual(await ask(socketPath, 'GET', '/v1/status?x=1'), {
      status: 200,
      type: 'application/json',
      body: '{"state":"ok"}',
    });
    assert.equal((await ask(socketPath, 'HEAD', '/v1/status')).body, '');
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS'])
      assert.equal((await ask(socketPath, method, '/v1/status')).status, 405, method);
    for (const url of ['/', '/v1', '/v1/status/', '/__proto__', '/constructor', '/../etc/passwd', '/%00']) {
      const { status, body } = await ask(socketPath, 'GET', url);
      assert.equal(status, 404, url);
      assert.match((JSON.parse(body) as { error: string }).error, /^no such path: .*; there are \/v1\/status$/);
    }
    assert.equal(statSync(socketPath).mode & 0o777, 0o660);
    await assert.rejects(fetchStatus(socketPath), /`summary`: expected string, found nothing/);
  });

  it('gives the whole of a status to its client, also of a newer daemon and of an older one', async (t) => {
    const run = aRun(t);
    const status = statusDocument(run, later(run, 42));
    for (const [sent, read] of [
      [status, status],
      [{ ...status, newField: [1] }, status],
      [
        JSON.parse(JSON.stringify({ ...status, phase: undefined, conflicts: undefined })),
        { ...status, phase: 'ready', conflicts: [] },
      ],
    ] as const) {
      const socketPath = await serve(t, json(JSON.stringify(sent)));
      assert.deepEqual(await fetchStatus(socketPath), { status: read, text: JSON.stringify(sent) });
    }
  });

  it('answers what took longer than a client may take, and an error of its own in JSON', async (t) => {
    const socketPath = await serve(t, {
      '/late': {
        type: 'text/plain',
        body: () => new Promise((resolve) => void setTimeout(() => resolve('at last'), 5500)),
      },
      '/broken': { type: 'text/plain', body: () => Promise.reject(new Error('a\nfault')) },
    });
    assert.deepEqual(await ask(socketPath, 'GET', '/late'), { status: 200, type: 'text/plain', body: 'at last' });
    assert.deepEqual(await ask(socketPath, 'GET', '/broken'), {
      status: 500,
      type: 'application/json',
      body: '{"error":"a fault"}\n',
    });
  });

  it('says so while there is no status', async (t) => {
    const socketPath = await serve(t, json(undefined));
    assert.equal((await ask(socketPath, 'GET', '/v1/status')).status, 503);
    await assert.rejects(fetchStatus(socketPath), /expected status 200, found 503: \{"error":"no status yet"\}/);
  });

  it('takes the place of a socket that a killed daemon has left', async (t) => {
    const socketPath = path.join(scratch(t), 's.sock');
    mkdirSync(path.dirname(socketPath), { recursive: true });
    writeFileSync(socketPath, '');
    const server = await serveStatus({ path: socketPath, fd: undefined }, json('{}'));
    t.after(() => server.close());
    assert.equal((await ask(socketPath, 'GET', '/v1/status')).status, 200);
  });

  it('lives on when a client sends nonsense or hangs up', async (t) => {
    const socketPath = await serve(t, json('{}'));
    for (const bytes of [
      '\0\u0001\u0002\r\n\r\n',
      'GET',
      'GET / HTTP/9.9\r\n\r\n',
      `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    ]) {
      await new Promise<void>((resolve) => {
        const client = connect(socketPath, () => client.write(bytes, () => setTimeout(() => client.destroy(), 5)));
        client.on('error', () => undefined).on('close', () => resolve());
      });
    }
    assert.equal((await ask(socketPath, 'GET', '/v1/status')).status, 200);
  });

  it('hangs up on a client that says nothing, within 10 s', async (t) => {
    const socketPath = await serve(t, json('{}'));
    const start = performance.now();
    await new Promise<void>((resolve) => {
      const client = connect(socketPath);
      client
        .on('error', () => undefined)
        .on('end', () => client.end())
        .on('close', () => resolve());
      setTimeout(() => client.destroy(), 12_000).unref();
    });
    assert.ok(performance.now() - start < 10_000);
  });
});
