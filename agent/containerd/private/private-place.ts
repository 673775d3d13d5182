import { mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { delay } from '../../system/clock.ts';
import { sha256Bytes } from '../../system/digest.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { readTextIfThere } from '../../system/read-files.ts';
import { ensureFolder, writeNewFile } from '../../system/write-files.ts';
import { tryLockFile, type Lock } from '../../system/lock.ts';
import { realPathOf } from '../../system/real-path.ts';
import type { TimeLimit } from './time-limit.ts';

const POLL_MS = 10;
/** sockaddr_un has room for 107 bytes. containerd makes another socket, whose name ends with `.ttrpc`. */
const MAX_SOCKET_BYTES = 101;

/** The folder of a private containerd. There is one for each root. Whoever has its lock has it alone. */
export class PrivatePlace {
  readonly socket: string;
  readonly state: string;
  readonly config: string;
  readonly #log: string;
  readonly #folder: string;
  readonly #lock: Lock;

  private constructor(folder: string, lock: Lock) {
    this.#folder = folder;
    this.#lock = lock;
    this.socket = join(folder, 'sock');
    this.state = join(folder, 'state');
    this.config = join(folder, 'config.toml');
    this.#log = join(folder, 'log');
  }

  /** Waits for another agent that has it. @throws PreloaderError LOCKED, STORE_WRITE */
  static async take(root: string, runRoot: string, time: TimeLimit): Promise<PrivatePlace> {
    const folder = join(runRoot, `containerd-${sha256Bytes(realPathOf(root)).toString('hex', 0, 4)}`);
    if (Buffer.byteLength(join(folder, 'sock')) > MAX_SOCKET_BYTES)
      throw new PreloaderError(
        'STORE_WRITE',
        `${folder}/sock: expected at most ${MAX_SOCKET_BYTES} bytes, as a socket may have, found more`,
      );
    try {
      ensureFolder(runRoot, 0o755);
      for (;;) {
        const lock = tryLockFile(`${folder}.lock`);
        if (lock !== 'held') return new PrivatePlace(folder, lock);
        if (time.isOverForUse) break;
        await delay(POLL_MS);
      }
    } catch (error) {
      throw new PreloaderError('STORE_WRITE', `expected a folder for containerd's socket: ${messageOf(error)}`, {
        cause: error,
      });
    }
    throw new PreloaderError(
      'LOCKED',
      `${folder}.lock: held by another docker-preloader for ${time.seconds} s; look for one that hangs`,
    );
  }

  /** Makes it empty. What an agent that was killed has left there is of no use. @throws system errors */
  empty(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { mode: 0o700 });
  }

  writeConfig(text: string): void {
    writeNewFile(this.config, text, 0o600);
  }

  /** @returns a descriptor with which to append to the log */
  openLog(): number {
    return openSync(this.#log, 'a', 0o600);
  }

  get log(): string {
    return readTextIfThere(this.#log) ?? '';
  }

  /** Removes the folder. The lock's file stays, because another agent may be waiting for the lock. */
  remove(): void {
    try {
      rmSync(this.#folder, { recursive: true, force: true });
    } catch {
      // It is in memory, and made anew by the next one.
    }
  }

  release(): void {
    this.#lock.release();
  }
}
