import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { architectureOf } from '../../agent/packaging/architecture.ts';
import { fetchDebianPackage } from '../support/debian-packages.ts';

/**
 * Makes a command of an executable for arm64, which QEMU runs on this machine's kernel. It is not installed, since that
 * would have the kernel start each executable for arm64 so.
 * @param file the executable, which then takes this machine's files for its own, but for the libraries
 * @param command the path of the command
 * @returns it
 */
export async function emulated(file: string, command: string): Promise<string> {
  const qemu = path.join(await fetchDebianPackage('trixie', ['qemu-user']), 'usr/bin/qemu-aarch64');
  writeFileSync(command, `#!/bin/sh\nexec '${qemu}' -L '${libraries}' '${file}' "$@"\n`);
  chmodSync(command, 0o755);
  return command;
}

/** Where Debian's cross packages have glibc for it. */
const libraries = path.join('/usr', architectureOf('arm64').gnuName);
