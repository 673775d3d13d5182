import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { DockerApi, type ImageEvent } from '../../../agent/docker/api/docker-api.ts';
import { monotonicMs } from '../../../agent/system/clock.ts';
import { scratch } from '../../support/temp-tree.ts';
import { until } from '../../support/until.ts';

describe("dockerd's events", () => {
  it('have times that stay in their order where the time of day is set', async (t) => {
    const socket = path.join(scratch(t), 'd.sock');
    let events: ServerResponse | undefined;
    let asked: string | undefined;
    const server = createServer((request, response) => {
      if (request.url?.startsWith('/events') !== true) return response.end('OK');
      asked = request.url;
      events = response;
      response.flushHeaders();
      return undefined;
    });
    await once(server.listen(socket), 'listening');
    const docker = await DockerApi.connect(socket);
    t.after(() => {
      docker.close();
      server.close();
    });
    const taken: ImageEvent[] = [];
    const tell = async (action: string): Promise<void> => {
      const event = { Type: 'image', Action: action, Actor: { ID: 'sha256:1' }, timeNano: Date.now() * 1e6 };
      events?.write(`${JSON.stringify(event)}\n`);
      await until(action, () => taken.some((one) => one.action === action));
    };
    const following = docker.follow((event) => taken.push(event), true);
    await until('that somebody follows', () => events !== undefined);
    assert.match(asked ?? '', /^\/events\?since=1&filters=/);
    const began = monotonicMs();
    await tell('untag');
    await following;
    const hourMs = 3_600_000;
    const real = Date.now;
    for (const [action, jumpMs] of [
      ['tag', -hourMs],
      ['delete', hourMs],
      ['prune', -24 * hourMs],
    ] as const) {
      t.mock.method(Date, 'now', () => real() + jumpMs);
      await tell(action);
    }
    const times = taken.map(({ timeMs }) => timeMs);
    assert.deepEqual(
      taken.map(({ action }) => action),
      ['untag', 'tag', 'delete', 'prune'],
    );
    for (const [number, time] of times.entries()) {
      assert.ok(time >= (times[number - 1] ?? began) - 1, times.join(', '));
      assert.ok(time <= monotonicMs());
    }
  });
});
