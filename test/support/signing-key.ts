import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Makes an Ed25519 key without a passphrase, and the .pub file beside it. @returns the file of the private key */
export function makeKey(file: string, comment = 'release@example'): string {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file]);
  return file;
}

/** The line of a key's .pub file, as `trustedKeys` takes it. */
export function publicLine(key: string): string {
  return readFileSync(`${key}.pub`, 'utf8').trim();
}

/** Signs a file as `build` signs a manifest, or otherwise: the signature is in FILE.sig. */
export function signFile(
  file: string,
  key: string,
  { namespace = 'docker-preloader', hash = 'sha256' }: { readonly namespace?: string; readonly hash?: string } = {},
): void {
  execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-f', key, '-n', namespace, '-O', `hashalg=${hash}`, file], {
    stdio: 'ignore',
  });
}
