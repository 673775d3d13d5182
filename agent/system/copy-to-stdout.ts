import { open } from 'node:fs/promises';
import { write } from 'node:fs';
import { promisify } from 'node:util';
import { delay } from './clock.ts';
import { isENOSPC, isEPIPE, isEWOULDBLOCK, PreloaderError } from './errors.ts';

const STDOUT = 1;
const CHUNK_BYTES = 1024 * 1024;
const RETRY_MS = 5;

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
