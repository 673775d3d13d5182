import { TinyBuffer } from './buffer.ts';
import { door } from './door.ts';
import { Emitter } from './emitter.ts';
import { systemError } from './errno.ts';
import { closeSync } from './fs.ts';
import { schedule, soon, whenReadable } from './loop.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SUN_PATH_MAX = 108;
const EAGAIN = 11;
const PIECE_BYTES = 64 * 1024;
/** How soon writing is tried again if the other side reads slowly. */
const WRITE_AGAIN_MS = 5;

interface Events {
  data: TinyBuffer;
  error: Error;
  close: undefined;
  connect: undefined;
}

/**
 * node:net, as far as it is needed to talk to dockerd and containerd.
 * @returns a connection, which tells on its next turn whether it was made
 */
export function createConnection(path: string): Socket {
  return new Socket(path);
}

export class Socket extends Emitter<Events> {
  #fd: number | undefined;
  #stop: () => void = () => undefined;
  #toWrite: Uint8Array[] = [];
  #isWaiting = false;
  #isOver = false;

  constructor(path: string) {
    super();
    soon(() => {
      if (this.#isOver) return;
      try {
        this.#connect(path);
      } catch (error) {
        this.destroy(error as Error);
      }
    });
  }

  /** Whether something waits until the other side has read. */
  get writableNeedDrain(): boolean {
    return this.#toWrite.length > 0;
  }

  write(content: string | Uint8Array): void {
    this.#toWrite.push(typeof content === 'string' ? TinyBuffer.from(content) : content);
    this.#flush();
  }

  /** Ends the connection at once, and tells listeners so on the next turn. */
  destroy(error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stop();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#toWrite = [];
    soon(() => {
      if (error !== undefined) this.emit('error', error);
      this.emit('close', undefined);
    });
  }

  #connect(path: string): void {
    const address = TinyBuffer.concat([TinyBuffer.from([AF_UNIX, 0]), TinyBuffer.from(`${path}\0`)]);
    if (address.length > 2 + SUN_PATH_MAX)
      throw new RangeError(`expected a socket path of at most ${SUN_PATH_MAX} bytes, found ${address.length - 2}`);
    const fd = door.calls.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw systemError(-fd, 'socket');
    this.#fd = fd;
    const failed = door.calls.connect(fd, address, address.length);
    if (failed < 0) throw systemError(-failed, 'connect', path);
    this.#stop = whenReadable(fd, () => this.#read(fd));
    this.emit('connect', undefined);
    this.#flush();
  }

  #read(fd: number): void {
    const piece = TinyBuffer.alloc(PIECE_BYTES);
    const count = door.read(fd, piece, 0, piece.length, -1);
    if (count > 0) this.emit('data', piece.subarray(0, count));
    else if (count === 0) this.destroy();
    else if (count !== -EAGAIN) this.destroy(systemError(-count, 'read'));
  }

  #flush(): void {
    if (this.#fd === undefined || this.#isWaiting) return;
    for (let [first] = this.#toWrite; first !== undefined; [first] = this.#toWrite) {
      const count = door.write(this.#fd, first, 0, first.length);
      if (count === -EAGAIN) return this.#flushLater();
      if (count < 0) return this.destroy(systemError(-count, 'write'));
      if (count < first.length) this.#toWrite[0] = first.subarray(count);
      else this.#toWrite.shift();
    }
  }

  #flushLater(): void {
    this.#isWaiting = true;
    schedule(
      () => {
        this.#isWaiting = false;
        this.#flush();
      },
      WRITE_AGAIN_MS,
      false,
    );
  }
}
