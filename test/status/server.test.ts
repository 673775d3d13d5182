import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fetchStatus } from '../../agent/status/client.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { serveStatus, type Routes } from '../../agent/status/server.ts';
import { scratch } from '../support/temp-tree.ts';
import { aRun, later } from './a-run.ts';

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
