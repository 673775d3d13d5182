import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { quoted, runScript } from './own-process.ts';

describe('the service manager', () => {
  it('passes a socket to this process only', () => {
    const script = `import { listenFd } from ${quoted('listen-fds.ts')};
      const seen = [];
      for (const [pid, fds] of [[process.pid, 1], [process.pid, 2], [process.pid, 0], [process.pid, 'x'], [process.pid + 1, 1], ['', 1]]) {
        process.env.LISTEN_PID = String(pid); process.env.LISTEN_FDS = String(fds); seen.push(listenFd() ?? null);
      }
      delete process.env.LISTEN_PID; delete process.env.LISTEN_FDS; seen.push(listenFd() ?? null);
      console.log(JSON.stringify(seen));`;
    assert.deepEqual(JSON.parse(runScript(script).stdout), [3, 3, null, null, null, null, null]);
  });
});
