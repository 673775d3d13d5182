import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { agent } from '../../support/agent.ts';
import { scratch } from '../../support/temp-tree.ts';

describe("containerd's socket", () => {
  it('keeps no command running where somebody listens, never answers, and never closes', async (t) => {
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    const held: Socket[] = [];
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => held.push(socket));
    server.listen(at('mute.sock'));
    await once(server, 'listening');
    writeFileSync(at('daemon.json'), '{}');
    writeFileSync(
      at('config.json'),
      JSON.stringify({
        labels: ['dpl-no-such-*'],
        store: 'containerd',
        containerdAddress: at('mute.sock'),
        dataRoot: at('docker'),
        dockerConfig: at('daemon.json'),
        mountRoot: at('disks'),
        statusSocket: at('status.sock'),
      }),
    );
    try {
      const begun = performance.now();
      const { exitCode, all } = await agent(['verify', '--config', at('config.json')]);
      assert.deepEqual([exitCode, held.length], [1, 2], all);
      assert.match(all, /STORE_WRITE: containerd at .*mute\.sock: expected an answer within 1 s, found none/);
      assert.ok(performance.now() - begun < 30_000, 'it ends by itself');
    } finally {
      for (const socket of held) socket.destroy();
      server.close();
    }
  });
});
