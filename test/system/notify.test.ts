import path from 'node:path';
import { describe, it } from 'node:test';
import { notifySocket } from '../support/notify-socket.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { scratch } from '../support/temp-tree.ts';

describe('the service manager', () => {
  it('is told by datagrams of our own', async (t) => {
    const socket = await notifySocket(path.join(scratch(t), 'notify'));
    const before = process.env['NOTIFY_SOCKET'];
    t.after(async () => {
      if (before === undefined) delete process.env['NOTIFY_SOCKET'];
      else process.env['NOTIFY_SOCKET'] = before;
      await cleanUpAll();
    });
    const { notify, notifyStatus } = await import('../../agent/system/notify.ts');
    process.env['NOTIFY_SOCKET'] = socket.path;
    notify('READY=1', 'STATUS=all is well');
    await socket.waitFor('READY=1\nSTATUS=all is well');
    notifyStatus('two\nlines');
    await socket.waitFor('STATUS=two lines');
    // Nobody listens, or nobody asked: no failure of ours.
    for (const nowhere of ['/nonexistent/socket', '', 'x'.repeat(200)]) {
      process.env['NOTIFY_SOCKET'] = nowhere;
      notify('READY=1');
    }
    delete process.env['NOTIFY_SOCKET'];
    notify('READY=1');
  });
});
