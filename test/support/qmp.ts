import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** A connection to QEMU's monitor, speaking its machine protocol (QEMU, docs/interop/qmp-spec). */
export interface Qmp {
  /** Runs one command; throws with QEMU's own words where it is refused. */
  execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Waits for an event with these fields in its data that comes after this call. */
  event(name: string, fields: Readonly<Record<string, unknown>>, timeoutSec: number): Promise<void>;
}

interface Message {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** Connects to the monitor on a unix socket. */
export async function connectQmp(socketFile: string): Promise<Qmp> {
  const socket = await connectUnix(socketFile);
  const listeners = new Set<(message: Message) => void>();
  createInterface({ input: socket }).on('line', (line) => {
    const message = JSON.parse(line) as Message;
    for (const listener of listeners) listener(message);
  });
  const next = async (matches: (message: Message) => boolean, timeoutSec: number, what: string): Promise<Message> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        listeners.delete(listener);
        reject(new Error(`Expected ${what} from QEMU within ${timeoutSec} s`));
      }, timeoutSec * 1000);
      const listener = (message: Message): void => {
        if (!matches(message)) return;
        clearTimeout(timer);
        listeners.delete(listener);
        resolve(message);
      };
      listeners.add(listener);
    });
  let lastId = 0;
  const qmp: Qmp = {
    execute: async (command, args = {}) => {
      const id = ++lastId;
      const answer = next((message) => message.id === id, 30, `an answer to ${command}`);
      socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      const { error, return: value } = await answer;
      if (error !== undefined) throw new Error(`Expected QEMU to do ${command}, it says: ${error.desc}`);
      return value;
    },
    event: async (name, fields, timeoutSec) => {
      await next(
        ({ event, data }) => event === name && Object.entries(fields).every(([key, value]) => data?.[key] === value),
        timeoutSec,
        name,
      );
    },
  };
  await qmp.execute('qmp_capabilities');
  return qmp;
}

/**
 * Connects to a unix socket, waiting up to 10 s for the other side to make it. The connection does not keep Node alive.
 */
export async function connectUnix(file: string): Promise<Socket> {
  for (let tries = 0; ; tries++) {
    const socket = connect(file);
    try {
      await once(socket, 'connect');
      return socket.unref().on('error', () => socket.destroy());
    } catch (error) {
      if (tries === 200) throw new Error(`Expected somebody to listen on ${file} within 10 s`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
