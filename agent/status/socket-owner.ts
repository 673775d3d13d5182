import { chmodSync, chownSync } from 'node:fs';
import { readTextIfThere } from '../system/read-files.ts';

const SOCKET_MODE = 0o660;

/** Lets those connect who may use Docker: the members of its group, if there is one. @throws system errors */
export function giveSocketToDocker(path: string): void {
  chmodSync(path, SOCKET_MODE);
  const group = dockerGroup();
  if (group !== undefined) chownSync(path, 0, group);
}

/** The number of the group whose members may use Docker. */
function dockerGroup(): number | undefined {
  const match = /^docker:[^:]*:(\d+):/m.exec(readTextIfThere('/etc/group') ?? '');
  return match === null ? undefined : Number(match[1]);
}
