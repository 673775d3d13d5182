import fs from 'node:fs';
import http2 from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import type { DiskAt } from './site.ts';

/**
 * A run of the agent that is killed at its n-th call: `killed-fill.ts N OPTIONS`. A call to containerd counts twice,
 * when it is made and when it is answered, and each one that changes a file once. It ends with 0 where it has fewer.
 * With a third argument it is not killed: all room of a file's filesystem goes into that, or a process of a number is
 * killed.
 */
const [at, options, other] = process.argv.slice(2);
const { openSync, writeSync, closeSync } = fs;
let calls = 0;

function count(): void {
  calls += 1;
  if (calls !== Number(at)) return;
  if (other !== undefined && !/^\d+$/.test(other)) fillUp(other);
  else process.kill(other === undefined ? process.pid : Number(other), 'SIGKILL');
  writeSync(1, 'reached\n');
}

function fillUp(file: string): void {
  const fd = openSync(file, 'a');
  for (let piece = Buffer.alloc(64 * 1024, 1); piece.length > 0;)
    try {
      writeSync(fd, piece);
    } catch {
      piece = piece.subarray(0, piece.length >> 1);
    }
  closeSync(fd);
}

const { connect } = http2;
http2.connect = ((...args: Parameters<typeof connect>) => {
  const session = connect(...args);
  const request = session.request.bind(session);
  session.request = (...requestArgs) => {
    count();
    const stream = request(...requestArgs);
    stream.on('trailers', count);
    return stream;
  };
  return session;
}) as typeof connect;
for (const name of ['symlinkSync', 'rmdirSync', 'renameSync', 'fsyncSync', 'unlinkSync', 'mkdirSync'] as const) {
  const call = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      count();
      return call(...args);
    },
  });
}
syncBuiltinESMExports();

// Only now: what is imported takes these.
const { fillContainerd } = await import('../../../agent/containerd/fill-containerd.ts');
const { offeredAt } = await import('./site.ts');
const { disks, ...more } = JSON.parse(options ?? '{}') as { disks: DiskAt[] };
const offered = disks.map(offeredAt);
calls = 0;
await fillContainerd({ ...(more as unknown as Parameters<typeof fillContainerd>[0]), disks: offered });
