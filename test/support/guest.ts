import assert from 'node:assert/strict';

/** How a command in a guest ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is put into a guest before it boots. */
export interface GuestContent {
  /** Files by their path in the guest: a text, or a file of this machine to copy. Folders are made as needed. */
  readonly files?: Readonly<Record<string, string | { readonly copyOf: string }>>;
  /**
   * Shell commands that run as root in the guest's tree, without a running system: to install packages, for example.
   */
  readonly setup?: string;
}

/** A booted system with systemd and Docker, in a container or in a virtual machine. */
export interface Guest {
  /** Runs a shell command in the guest, as root, and returns however it ended. */
  run(command: string, timeoutSec?: number): Promise<Finished>;
  /** What came over the console, of all boots. */
  console(): string;
}

/** Runs a shell command that has to succeed and returns its stdout without the newline at its end. */
export async function ok(guest: Guest, command: string, timeoutSec?: number): Promise<string> {
  const { code, stdout, stderr } = await guest.run(command, timeoutSec);
  assert.equal(code, 0, `expected \`${command}\` to succeed in the guest, it exited with ${code}: ${stdout}${stderr}`);
  return stdout.trimEnd();
}

/** Runs a shell command that has to fail, and returns all that it said. */
export async function fails(guest: Guest, command: string): Promise<string> {
  const { code, stdout, stderr } = await guest.run(command);
  assert.notEqual(code, 0, `expected \`${command}\` to fail in the guest, it said: ${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

/**
 * Waits until a shell command succeeds in the guest. The asking is done there, ten times a second, because what is
 * waited for (a state of systemd, a line in the journal) has no event that reaches this side.
 */
export async function until(guest: Guest, command: string, timeoutSec = 30): Promise<void> {
  const script = `end=$(( $(cut -d. -f1 /proc/uptime) + ${timeoutSec} ))
while ! ( ${command}\n ) > /run/until.out 2>&1; do
  [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ] || { cat /run/until.out; exit 1; }
  sleep 0.1
done`;
  const { code, stdout, stderr } = await guest.run(script, timeoutSec + 30);
  if (code !== 0)
    throw new Error(
      `Expected \`${command}\` to succeed in the guest within ${timeoutSec} s, it last said: ${stdout}${stderr}`,
    );
}

/** The properties of a unit, as `systemctl show` has them. */
export async function unitProperties(
  guest: Guest,
  unit: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const text = await ok(guest, `systemctl show ${unit} --property=${names.join(',')}`);
  return Object.fromEntries(
    text.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** The last lines of a text, for an error message. */
export function tail(text: string, lines = 30): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
