import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isENOENT } from '../system/errors.ts';

/** Where packages have dockerd: Docker's and Microsoft's, Debian's and Ubuntu's. */
const PROGRAMS = ['usr/bin/dockerd', 'usr/sbin/dockerd'];
/** Docker's package, Debian's and Ubuntu's, Microsoft's. */
const PACKAGES = ['docker-ce', 'docker.io', 'moby-engine'];
const DATABASE = 'var/lib/dpkg/status';
/** Where somebody may have told systemd to start another program. */
const OVERRIDES = ['etc', 'run', 'usr/local/lib'].flatMap((folder) => [
  `${folder}/systemd/system/docker.service`,
  `${folder}/systemd/system/docker.service.d`,
]);

/**
 * The version of the dockerd that will start here, as Debian's package database has it: to run dockerd only to ask it would
 * take longer than all that we do. Undefined where that does not tell: then the program is to be asked.
 * @param root of the system, for tests
 */
export function packagedVersion(root = '/'): string | undefined {
  try {
    if (!PROGRAMS.some((path) => existsSync(join(root, path)))) return undefined;
    if (OVERRIDES.some((path) => startsOther(join(root, path)))) return undefined;
    const status = readFileSync(join(root, DATABASE));
    const found = PACKAGES.flatMap((name) => versionIn(status, name) ?? []);
    return found.length === 1 ? found[0] : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a unit file, or a folder of drop-ins, names a program to start. */
function startsOther(path: string): boolean {
  try {
    const files = readdirSync(path).map((name) => join(path, name));
    return files.some((file) => /^\s*ExecStart\s*=/m.test(readFileSync(file, 'utf8')));
  } catch (error) {
    // A file instead of a folder is a whole unit, a link to /dev/null a unit that does not start.
    return !isENOENT(error);
  }
}

/** Of `5:29.0.1-1~debian.13~trixie` that is 29.0.1, of `26.1.5+dfsg1-9+b4` 26.1.5. Of a megabyte, little becomes text. */
function versionIn(status: Buffer, name: string): string | undefined {
  const line = `Package: ${name}\n`;
  const at = status.toString('latin1', 0, line.length) === line ? 0 : status.indexOf(`\n${line}`);
  if (at === -1) return undefined;
  const end = status.indexOf('\n\n', at + 1);
  const entry = status.toString('latin1', at, end === -1 ? status.length : end);
  if (!/^Status: \S+ \S+ installed$/m.test(entry)) return undefined;
  return /^Version: (?:\d+:)?(\d+\.\d+[^-+~\s]*)/m.exec(entry)?.[1];
}
