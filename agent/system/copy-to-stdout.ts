import { open } from 'node:fs/promises';
import { constants, fstatSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { delay } from './clock.ts';
import { isENOSPC, isEPIPE, isEWOULDBLOCK, PreloaderError } from './errors.ts';
import { readTextIfThere } from './read-files.ts';

const STDOUT = 1;
/** Device 1:3 (Linux, admin-guide/devices.txt). */
const DEV_NULL = 0x103;
const CHUNK_BYTES = 1024 * 1024;
const RETRY_MS = 5;

/**
 * Whether standard output was closed when we were started. The runtime then opens /dev/null in its place, for reading
 * and writing, as no shell opens it for output.
 */
export function isStdoutClosed(): boolean {
  const { rdev } = fstatSync(STDOUT);
  const flags = Number.parseInt(/^flags:\s+0*(\d+)$/m.exec(readTextIfThere('/proc/self/fdinfo/1') ?? '')?.[1] ?? '', 8);
  return rdev === DEV_NULL && (flags & (constants.O_WRONLY | constants.O_RDWR)) === constants.O_RDWR;
}

/**
 * Copies a file to standard output as fast as it is read there. Holes become zeros. Signals are still handled
 * meanwhile.
 * @throws PreloaderError if the reader goes away before it has everything, because half a disk is useless
 */
export async function copyToStdout(path: string): Promise<void> {
  const writeSome = promisify(write);
  const file = await open(path, 'r');
  const buffer = Buffer.alloc(CHUNK_BYTES);
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES);
      if (bytesRead === 0) return;
      for (let done = 0; done < bytesRead;) {
        done += await writeSome(STDOUT, buffer, done, bytesRead - done).then(
          ({ bytesWritten }) => bytesWritten,
          retryLater,
        );
      }
    }
  } catch (error) {
    if (isENOSPC(error)) {
      throw new PreloaderError(
        'BUILD_FAILED',
        '-o -: expected room for the disk where standard output goes, found the filesystem full',
      );
    }
    if (isEPIPE(error)) {
      throw new PreloaderError(
        'BUILD_FAILED',
        '-o -: expected whoever reads standard output to take the whole disk, found it gone',
        {
          cause: error,
        },
      );
    }
    throw error;
  } finally {
    await file.close();
  }
}

/** Another process that shares the pipe may have made it non-blocking. */
async function retryLater(error: unknown): Promise<number> {
  if (!isEWOULDBLOCK(error)) throw error;
  await delay(RETRY_MS);
  return 0;
}
