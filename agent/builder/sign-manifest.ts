import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { signerIn, SIGNATURE_NAMESPACE, type Signer } from '../disk/manifest-signer.ts';
import { isENOENT, messageOf, noSuchFile, PreloaderError, shownPath } from '../system/errors.ts';
import { requireTool, runTool } from '../system/run-tool.ts';
import type { Workplace } from './workplace.ts';

/** A manifest's signature, as ssh-keygen writes it, and who has made it. */
export interface ManifestSignature extends Signer {
  readonly text: string;
}

/**
 * Looks at a key before hours of work. Nothing secret is read.
 * @param key the file of a private key, or of a public one whose private half the ssh-agent has
 * @throws PreloaderError TOOL_MISSING; BUILD_FAILED if it is no Ed25519 key
 */
export async function checkSigningKey(key: string): Promise<void> {
  requireTool('ssh-keygen');
  refuseMissing(key);
  // 256 SHA256:… comment (ED25519)
  const type = /\(([A-Z0-9-]+)\)\s*$/.exec(await described(key))?.[1];
  if (type !== 'ED25519') throw refused(key, `one of the type ${type ?? 'that ssh-keygen does not tell'}`);
}

/**
 * Has ssh-keygen sign a manifest, and checks what it has made. It asks for a passphrase itself, on the terminal or as
 * SSH_ASKPASS says.
 * @throws PreloaderError BUILD_FAILED
 */
export async function signManifest(
  key: string,
  manifest: Buffer,
  digest: string,
  workplace: Pick<Workplace, 'path'>,
): Promise<ManifestSignature> {
  const file = workplace.path('manifest');
  writeFileSync(file, manifest);
  try {
    // With sha256, what is signed is the digest by which `required` and all else know the manifest.
    await runTool('ssh-keygen', ['-Y', 'sign', '-f', key, '-n', SIGNATURE_NAMESPACE, '-O', 'hashalg=sha256', file]);
    const text = readFileSync(`${file}.sig`, 'utf8');
    return { text, ...signerIn(text, digest) };
  } catch (error) {
    const message = messageOf(error).replace(/^ssh-keygen -Y: (?:Enter passphrase: )?/, '');
    const hint = message.includes('passphrase')
      ? ': where nobody can be asked for a passphrase, name the .pub file of a key that the ssh-agent has'
      : '';
    throw new PreloaderError('BUILD_FAILED', `${key}: it could not sign: ${message}${hint}`, { cause: error });
  }
}

function refuseMissing(key: string): void {
  try {
    if (statSync(key).isFile()) return;
  } catch (error) {
    if (isENOENT(error)) throw refused(shownPath(key), noSuchFile(key), error);
    throw error;
  }
  throw refused(key, 'something else');
}

async function described(key: string): Promise<string> {
  try {
    return await runTool('ssh-keygen', ['-l', '-f', key]);
  } catch (error) {
    throw refused(key, 'something else', error);
  }
}

function refused(key: string, found: string, cause?: unknown): PreloaderError {
  return new PreloaderError(
    'BUILD_FAILED',
    `${key}: expected an Ed25519 key, as ssh-keygen -t ed25519 makes it, found ${found}`,
    { cause },
  );
}
