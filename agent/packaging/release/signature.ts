import { runProgram } from '../../system/child-process.ts';
import { environment } from '../../system/environment.ts';
import { PreloaderError } from '../../system/errors.ts';
import { fromWhereTyped } from '../where-typed.ts';
import { runTool } from './release-tool.ts';

/** With an absolute folder of keys, as not all of it runs where the path was typed. */
function gpgOptions(): readonly string[] {
  const { GNUPGHOME: home = '' } = environment();
  return ['--batch', '--no-tty', '--yes', ...(home === '' ? [] : [`--homedir=${fromWhereTyped(home)}`])];
}

/** Time enough to type a passphrase. */
const ATTEMPT_MS = 120_000;

/**
 * Makes sure that gpg has one such secret key, and signs with it without a question. GNUPGHOME says where it keeps
 * them.
 * @returns its fingerprint
 * @throws PreloaderError BUILD_FAILED
 */
export async function requireKey(key: string | undefined): Promise<string> {
  if (key === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      'expected --key, the OpenPGP key that signs a release, found none: npm run release -- --key FINGERPRINT, with GNUPGHOME where gpg has it',
    );
  const [fingerprint, ...others] = await secretKeys(key);
  if (fingerprint === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected a secret OpenPGP key '${key}', found none: \`gpg --list-secret-keys\` shows those that are there, GNUPGHOME says where`,
    );
  if (others.length > 0)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected one secret OpenPGP key '${key}', found ${others.length + 1}: choose one by its fingerprint, ${[fingerprint, ...others].join(' or ')}`,
    );
  // Only an attempt tells of a key that has expired or is revoked, and of a passphrase that nobody is there to type.
  const attempt = await runProgram('gpg', [...gpgOptions(), '--armor', ...signWith(fingerprint), '--detach-sign'], {
    timeoutMs: ATTEMPT_MS,
  });
  if (attempt.failed)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected an OpenPGP key that signs, found that '${key}' does not (${lastLine(attempt.stderr)}): a passphrase has to be known to gpg-agent, or asked for on a terminal that GPG_TTY names; \`gpg --list-secret-keys\` shows what has expired`,
    );
  return fingerprint;
}

/** Fingerprints of all that gpg has by a name (gnupg's doc/DETAILS, colon listings). */
async function secretKeys(key: string): Promise<readonly string[]> {
  if (key === '') return [];
  const { failed, stdout } = await runProgram('gpg', [
    ...gpgOptions(),
    '--with-colons',
    '--list-secret-keys',
    '--',
    key,
  ]);
  const lines = failed ? [] : stdout.split('\n').map((line) => line.split(':'));
  // That of the key itself comes first after it, those of its subkeys later.
  return lines.flatMap(([kind], index) =>
    kind === 'sec' ? [lines.slice(index).find(([one]) => one === 'fpr')?.[9] ?? ''] : [],
  );
}

function signWith(key: string): readonly string[] {
  return ['--local-user', key, '--digest-algo', 'SHA512'];
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/** Signs a file. @param how `inline`: the text with its signature around it @throws PreloaderError BUILD_FAILED */
export async function sign(file: string, output: string, how: 'inline' | 'detached', key: string): Promise<void> {
  const kind = how === 'inline' ? ['--clearsign'] : ['--armor', '--detach-sign'];
  await runTool('gpg', [...gpgOptions(), ...signWith(key), `--output=${output}`, ...kind, file]);
}

/** Writes the public key as text. */
export async function exportKey(key: string, output: string): Promise<void> {
  await runTool('gpg', [...gpgOptions(), '--armor', `--output=${output}`, '--export', key]);
}
