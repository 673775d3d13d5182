import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Finished } from './guest.ts';

/**
 * How a test runs commands in a virtual machine: a shell script in the guest answers on a virtio-serial port.
 *
 * A request is one line, `<id> <base64 of a shell command>`; the answer is one line,
 * `<id> <exit code> <base64 of stdout> <base64 of stderr>`, the last two `-` where empty. At start it says `ready`.
 */

/** The port's name in the guest, under /dev/virtio-ports. */
export const controlPort = 'guest.control';

/** Runs in the guest, which has no Node: POSIX shell and coreutils only. */
export const controlScript = `#!/bin/sh
exec 3<>/dev/virtio-ports/${controlPort} || exit 1
echo ready >&3
while read -r id command <&3; do
  echo "$command" | base64 -d > /run/guest-control.sh
  sh /run/guest-control.sh > /run/guest-control.out 2> /run/guest-control.err < /dev/null 3>&-
  code=$?
  out=$(base64 -w 0 /run/guest-control.out)
  err=$(base64 -w 0 /run/guest-control.err)
  echo "$id $code \${out:--} \${err:--}" >&3
done
`;

/**
 * Starts as soon as the port is there and is not stopped by a shutdown's jobs, so that a test can look into a boot that
 * waits for something and into a shutdown. KillMode=process: a service started by a command is not its child anyway.
 */
export const controlUnit = `[Unit]
Description=Runs commands for the test on the host
DefaultDependencies=no
ConditionVirtualization=vm
BindsTo=dev-virtio\\x2dports-${controlPort.replace('-', '\\x2d')}.device
After=dev-virtio\\x2dports-${controlPort.replace('-', '\\x2d')}.device
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/local/lib/guest-control
Restart=always
RestartSec=100ms
KillMode=process
OOMScoreAdjust=-900
`;

/** The test's end of the port. */
export interface GuestControl {
  /** Waits until the guest's script has started, once for each boot. */
  ready(timeoutSec: number): Promise<void>;
  run(command: string, timeoutSec: number): Promise<Finished>;
}

/**
 * Speaks with the guest's script over the socket that QEMU connects to the port.
 * @param failure adds what is known of the guest to the message of a time limit
 */
export function guestControl(socket: Socket, failure: (message: string) => Error): GuestControl {
  let boots = 0;
  let lastId = 0;
  const waiting = new Map<
    string,
    {
      readonly resolve: (words: readonly string[]) => void;
      readonly reject: (error: Error) => void;
      readonly what: string;
    }
  >();
  socket.on('close', () => {
    for (const { reject, what } of waiting.values()) reject(failure(`Expected ${what}, but QEMU closed the port`));
  });
  createInterface({ input: socket }).on('line', (line) => {
    const [id = '', ...words] = line.split(' ');
    if (id === 'ready') boots++;
    waiting.get(id)?.resolve(words);
  });
  const answer = async (id: string, timeoutSec: number, what: string): Promise<readonly string[]> => {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(failure(`Expected ${what} within ${timeoutSec} s`)), timeoutSec * 1000);
        waiting.set(id, { resolve, reject, what });
      });
    } finally {
      clearTimeout(timer);
      waiting.delete(id);
    }
  };
  return {
    ready: async (timeoutSec) => {
      if (boots === 0) await answer('ready', timeoutSec, 'the guest to boot');
      boots--;
    },
    run: async (command, timeoutSec) => {
      const id = String(++lastId);
      const finished = answer(id, timeoutSec, `\`${command}\` to end in the guest`);
      socket.write(`${id} ${Buffer.from(command).toString('base64')}\n`);
      const [code, out, err] = await finished;
      return { code: Number(code), stdout: decoded(out), stderr: decoded(err) };
    },
  };
}

function decoded(base64: string | undefined): string {
  return base64 === undefined || base64 === '-' ? '' : Buffer.from(base64, 'base64').toString();
}
