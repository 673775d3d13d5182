import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { systemCall } from '../../agent/system/libc.ts';
import { PAGE_BYTES } from '../../agent/system/will-need.ts';
import { attachCold, makeSystemDisk, WHOLE_FROM_BIN } from '../bench/cold.ts';
import { agent } from '../support/agent.ts';
import { askAgent } from '../support/ask-agent.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { attach } from '../support/loop-device.ts';

const root = path.resolve(import.meta.dirname, '../..');
const label = `c${process.pid.toString(36)}`;
const CACHESTAT = 451;
const POSIX_FADV_DONTNEED = 4;
/** By then, one that has started waits. */
const SETTLE_MS = 2000;

/** Both programs on a disk of their own, of which the kernel reads what is touched, and nothing around it. */
export interface ColdProgram {
  readonly small: string;
  readonly whole: string;
  /** Number of the whole program's pages. */
  readonly size: number;
  /** From now on, nothing of the whole program is in memory. */
  cool(): void;
  /** The whole program's pages in memory. */
  pages(): number[];
}

/** @param folder a new one */
export async function coldProgram(folder: string): Promise<ColdProgram> {
  const disk = await makeSystemDisk(folder, {
    'docker-preloader': path.join(root, 'dist', built.small),
    [WHOLE_FROM_BIN]: path.join(root, 'dist', built.whole),
  });
  const at = path.join(folder, 'programs');
  mkdirSync(at);
  await execa('mount', ['-o', 'ro', (await attachCold(disk, 0)).device, at]);
  const whole = path.join(at, 'bin', WHOLE_FROM_BIN);
  const size = Math.ceil(statSync(whole).size / PAGE_BYTES);
  const withFile = <Result>(work: (file: number) => Result): Result => {
    const file = openSync(whole, 'r');
    try {
      return work(file);
    } finally {
      closeSync(file);
    }
  };
  return {
    small: path.join(at, 'bin/docker-preloader'),
    whole,
    size,
    cool: () => void withFile((file) => systemCall('posix_fadvise', file, 0, 0, POSIX_FADV_DONTNEED)),
    pages: () => withFile((file) => cachedPages(file, 0, size)),
  };
}

/** Which of these pages are in memory: all, none, or those of each half. */
function cachedPages(file: number, first: number, count: number): number[] {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(first * PAGE_BYTES), 0);
  range.writeBigUInt64LE(BigInt(count * PAGE_BYTES), 8);
  const cached = Buffer.alloc(40);
  systemCall('syscall', CACHESTAT, file, range, cached, 0);
  const found = Number(cached.readBigUInt64LE(0));
  if (found === 0) return [];
  if (found === count) return Array.from({ length: count }, (_, index) => first + index);
  const half = Math.floor(count / 2);
  return [...cachedPages(file, first, half), ...cachedPages(file, first + half, count - half)];
}

/** What of a program that was cold is in memory, once it has done something. */
interface Lived {
  readonly what: string;
  readonly pages: readonly number[];
  /** The small engine does that without the whole program. */
  readonly isSmall: boolean;
}

/**
 * Has a program do all that is done at a boot, with containerd and a disk, and cools the whole one before each.
 * @param program one of the two
 * @param folder a new one
 */
export async function* lives(cold: ColdProgram, program: string, folder: string): AsyncGenerator<Lived> {
  process.env['DOCKER_PRELOADER_UNDER_TEST'] = program;
  mkdirSync(folder, { recursive: true });
  const archive = await dockerArchive([{ tags: ['cold:1'], layers: [[{ name: 'app', content: folder }]] }]);
  await attach(await makeDisk(path.join(folder, 'disk'), archive, '--label', label, '--blobs', 'tar'));
  const containerd = await startContainerd('28.5', path.join(folder, 'c'));
  const config = path.join(folder, 'config.json');
  const statusSocket = path.join(folder, 'status/status.sock');
  const configure = (store: string): void =>
    writeFileSync(
      config,
      JSON.stringify({
        labels: [label],
        store,
        dataRoot: path.join(folder, 'data'),
        mountRoot: path.join(folder, 'disks'),
        dockerConfig: path.join(folder, 'daemon.json'),
        statusSocket,
        containerdAddress: containerd.address,
        deviceTimeoutSec: 0,
      }),
    );
  const lived = (what: string, isSmall: boolean): Lived => ({ what, pages: cold.pages(), isSmall });
  configure('containerd');
  for (const what of ['an empty store is filled', 'nothing is to be done']) {
    cold.cool();
    const { exitCode, all } = await agent(['apply', '--only', 'containerd', '--config', config]);
    if (exitCode !== 0) throw new Error(`${what}: ${all}`);
    yield lived(what, true);
  }
  for (const [what, store] of [
    ['the daemon, with containerd', 'containerd'],
    ['the daemon, before containerd', 'containerd'],
    ['the daemon, with clients', 'overlay2'],
  ] as const) {
    configure(store);
    cold.cool();
    const daemon = await startDaemon(config, folder);
    await delay(SETTLE_MS);
    const { state } = JSON.parse(readFileSync(path.join(folder, 'status/status.json'), 'utf8')) as {
      readonly state: string;
    };
    if (state !== 'ok') throw new Error(`${what}: expected ok, found ${state}: ${daemon.log()}`);
    if (store === 'overlay2')
      for (const asked of ['status', 'plan', 'timeline']) await askAgent(statusSocket, `/v1/${asked}`);
    yield lived(what, store !== 'overlay2');
    await daemon.stop();
    if (what === 'the daemon, with containerd') await containerd.end();
  }
}
