import { PreloaderError } from '../../system/errors.ts';
import { runTool } from './release-tool.ts';

const GPG = ['--batch', '--no-tty', '--yes'];

/**
 * Makes sure that gpg has the secret key. GNUPGHOME says where it keeps them.
 * @throws PreloaderError BUILD_FAILED
 */
export async function requireKey(key: string | undefined): Promise<string> {
  if (key === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      'expected --key, the OpenPGP key that signs a release, found none: npm run release -- --key FINGERPRINT, with GNUPGHOME where gpg has it',
    );
  const isThere = await runTool('gpg', [...GPG, '--list-secret-keys', key]).then(
    () => true,
    () => false,
  );
  if (!isThere)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected a secret OpenPGP key '${key}', found none: \`gpg --list-secret-keys\` shows those that are there, GNUPGHOME says where`,
    );
  return key;
}

/** Signs a file. @param how `inline`: the text with its signature around it @throws Error */
export async function sign(file: string, output: string, how: 'inline' | 'detached', key: string): Promise<void> {
  const kind = how === 'inline' ? ['--clearsign'] : ['--armor', '--detach-sign'];
  await runTool('gpg', [...GPG, '--local-user', key, '--digest-algo', 'SHA512', `--output=${output}`, ...kind, file]);
}

/** Writes the public key as text. */
export async function exportKey(key: string, output: string): Promise<void> {
  await runTool('gpg', [...GPG, '--armor', `--output=${output}`, '--export', key]);
}
