import { every, processMs } from '../../system/clock.ts';
import { PreloaderError } from '../../system/errors.ts';
import { bytesMoved } from '../../system/processes.ts';
import { SilenceFault } from './client-fault.ts';

/** How long a registry may be silent, and whether it is asked again then. */
export interface Patience {
  readonly limitMs: number;
  readonly isAskedAgain: boolean;
}

/** A client that talks to a registry. */
export interface Talk {
  /** What is copied or asked for, as it is called in messages. */
  readonly name: string;
  /** @param written how many bytes the client has written by then, to files and to registries */
  readonly patience: (written: number) => Patience;
  /** Is told how many bytes the client has written since it was last. */
  readonly onWritten?: ((bytes: number) => void) | undefined;
}

/** How often it is looked whether anything has moved. */
const LOOK_MS = 1000;
/** Less in that time is what keeps a connection alive, or the runtime's own. An answer of 429 is more. */
const LEAST_BYTES = 100;
/** So many times it is told that nothing moves, before the client is ended. */
const TOLD = 3;

/**
 * Watches a client until neither the registry nor it has sent anything for too long, by the bytes that it reads and
 * writes. Where the kernel does not count them, it is never too long.
 * @param tell gets that it is silent, and that it goes on
 * @param onEnd is called once with what is wrong then
 * @returns what ends the watch
 */
export function watchSilence(
  pid: number,
  { name, patience, onWritten }: Talk,
  tell: (text: string) => void,
  onEnd: (fault: PreloaderError) => void,
): () => void {
  let bytes = 0;
  let written = 0;
  let since = processMs();
  let told = 0;
  const look = (): void => {
    const moved = bytesMoved(pid);
    if (moved === undefined) return;
    if (moved.written > written) onWritten?.(moved.written - written);
    ({ written } = moved);
    const now = processMs();
    const before = bytes;
    bytes = moved.read + moved.written;
    if (bytes - before >= LEAST_BYTES) {
      since = now;
      if (told > 0) tell(`${name}: the registry goes on`);
      told = 0;
    }
    const { limitMs, isAskedAgain } = patience(written);
    const silentMs = now - since;
    if (silentMs >= limitMs) {
      endLook();
      const message = `${name}: expected the registry to go on, found that nothing was sent or taken for ${limitMs / 1000} s`;
      onEnd(new (isAskedAgain ? SilenceFault : PreloaderError)('BUILD_FAILED', message));
    } else if (silentMs >= ((told + 1) * limitMs) / (TOLD + 1)) {
      told += 1;
      tell(
        `${name}: waiting for the registry: nothing was sent or taken for ${Math.round(silentMs / 1000)} s, and is waited for ${limitMs / 1000} s`,
      );
    }
  };
  const endLook = every(Math.min(LOOK_MS, patience(0).limitMs / 8), look);
  return endLook;
}
