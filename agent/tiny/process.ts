import { TinyBuffer } from './buffer.ts';
import { door } from './door.ts';
import { systemError } from './errno.ts';
import { obeySignals, whenSignalled } from './loop.ts';

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;
const EAGAIN = 11;

/** The hash of node:crypto. */
class Sha256 {
  #state = door.sha256Begin();

  update(content: string | Uint8Array): this {
    this.#state = door.sha256Add(this.#state, content);
    return this;
  }

  digest(): TinyBuffer {
    return new TinyBuffer(door.sha256End(this.#state));
  }
}

const modules = {
  'node:crypto': { createHash: (_algorithm: 'sha256'): Sha256 => new Sha256() },
  'node:tty': { isatty: (fd: number): boolean => door.isatty(fd) },
} as const;

/** Standard output. Listeners are told of an error. */
class Output {
  #listener: ((error: Error) => void) | undefined;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  on(_event: 'error', listener: (error: Error) => void): void {
    this.#listener = listener;
  }

  write(text: string): void {
    const bytes = TinyBuffer.from(text);
    for (let done = 0; done < bytes.length;) {
      const count = door.write(this.#fd, bytes, done, bytes.length - done);
      if (count >= 0) done += count;
      else if (count === -EAGAIN) door.calls.poll(writable(this.#fd), 1, -1);
      else return this.#fail(systemError(-count, 'write'));
    }
  }

  #fail(error: Error): void {
    if (this.#listener === undefined) throw error;
    this.#listener(error);
  }
}

/** A struct pollfd that asks whether a descriptor can be written. */
function writable(fd: number): TinyBuffer {
  const POLLOUT = 4;
  const entry = TinyBuffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(POLLOUT, 4);
  return entry;
}

let variables: Record<string, string | undefined> | undefined;

function environment(): Record<string, string | undefined> {
  variables ??= Object.fromEntries(
    door.environment().map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  );
  return variables;
}

/** Node's `process`, as far as the boot path uses it. */
export const process = {
  /** As in Node: the program, the script, and the arguments. */
  argv: [...door.words.slice(0, 1), ...door.words],
  pid: door.pid,
  exitCode: undefined as number | undefined,
  stdout: new Output(1),
  stderr: { columns: undefined as number | undefined },
  get env(): Record<string, string | undefined> {
    return environment();
  },
  on: (signal: keyof typeof SIGNALS, act: () => void): void => whenSignalled(SIGNALS[signal], act),
  exit: (status: number): never => door.exit(status),
  umask: (mask: number): number => door.umask(mask),
  getBuiltinModule: <Name extends keyof typeof modules>(name: Name): (typeof modules)[Name] => modules[name],
};

/**
 * Becomes another program, with this environment and these descriptors.
 * @param words its command line. Undefined means that of this process
 * @param variable `NAME=value`, which its environment has besides
 * @throws an error as node:fs has it
 */
export function become(path: string, words: readonly string[] | undefined, variable?: string): never {
  const EINTR = 4;
  for (;;) {
    const failed = -door.exec(path, words, variable);
    if (failed !== EINTR) throw systemError(failed, 'execve', path);
    obeySignals();
  }
}
