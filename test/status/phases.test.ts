import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { fetchStatus } from '../../agent/status/client.ts';
import { loadImages } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { attach } from '../support/loop-device.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { app } from './a-run.ts';

describe('the daemon', () => {
  after(cleanUpAll);

  it('tells the service manager what it is at, in each phase, and then the result', async () => {
    const { path: folder } = await tempTree('dpl-phases');
    const label = `p${process.pid.toString(36)}`;
    loadImages(path.join(folder, 'tree'), [app]);
    await makeDiskFile(path.join(folder, 'tree'), path.join(folder, 'disk.ext4'), label);
    const config = path.join(folder, 'config.json');
    const statusSocket = path.join(folder, 'run/s.sock');
    writeFileSync(
      config,
      JSON.stringify({
        labels: [label],
        dataRoot: path.join(folder, 'docker'),
        mountRoot: path.join(folder, 'disks'),
        dockerConfig: path.join(folder, 'daemon.json'),
        statusSocket,
        deviceTimeoutSec: 60,
      }),
    );
    const notify = await notifySocket(path.join(folder, 'notify'));
    const daemon = spawnDaemon(config, folder, { NOTIFY_SOCKET: notify.path });
    await notify.waitFor("STATUS=reading dockerd's configuration");
    await notify.waitFor('STATUS=looking for disks');
    await notify.waitFor(`STATUS=waiting for disk ${label}, at most`);
    await attach(path.join(folder, 'disk.ext4'));
    for (const status of ['mounting 1 disk', 'reading 1 disk', 'planning', 'applying ', 'checking the result'])
      await notify.waitFor(`STATUS=${status}`);
    await notify.waitFor('READY=1\nSTATUS=ok: 1 disk, 1 image, 2 layers, ');
    const { status } = await fetchStatus(statusSocket);
    assert.deepEqual(
      status.timings.map(({ phase }) => phase),
      ['config', 'discover', 'mount', 'read', 'plan', 'apply', 'check', 'ready'],
    );
    assert.equal(await daemon.stop(), 0);
    await unmountBelow(folder);
    await notify.close();
  });
});
