import { hexOf } from '../docker/ids.ts';
import { sha256Bytes } from '../system/digest.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { isSignedBy } from '../system/signed-by.ts';
import { base64Of } from '../text/base64.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { SMALL_FILE_BYTES } from './limits.ts';
import { parseSshSignature, signedBytes } from './ssh-signature.ts';

/** The file beside the manifest with its signature. Neither the manifest's digest nor the default label covers it. */
export const SIGNATURE_NAME = 'docker-preloader.json.sig';
/** What signatures of manifests are made for (`ssh-keygen -n`): no key's signature of something else counts. */
export const SIGNATURE_NAMESPACE = 'docker-preloader';

/** Who has signed a manifest, whether or not anybody trusts that key. */
export interface Signer {
  /** In base64, as in a .pub file and in `trustedKeys`. */
  readonly key: string;
  /** As `ssh-keygen -l` writes it. */
  readonly fingerprint: string;
}

/**
 * Checks a disk's signature of its manifest.
 * @returns undefined if it has none
 * @throws PreloaderError SIGNATURE_INVALID
 */
export function signerOf(files: Pick<FilesystemReader, 'read'>, manifestDigest: string): Signer | undefined {
  try {
    const text = files.read(SIGNATURE_NAME, SMALL_FILE_BYTES)?.toString('latin1');
    return text === undefined ? undefined : signerIn(text, manifestDigest);
  } catch (error) {
    const message = messageOf(error);
    throw new PreloaderError(
      'SIGNATURE_INVALID',
      message.includes(SIGNATURE_NAME) ? message : `${SIGNATURE_NAME}: ${message}`,
      { cause: error },
    );
  }
}

/** Checks the signature of a manifest. @param text as ssh-keygen writes it @throws Error */
export function signerIn(text: string, manifestDigest: string): Signer {
  const { keyBlob, key, signature } = parseSshSignature(text, SIGNATURE_NAMESPACE);
  const signer = { key: base64Of(keyBlob), fingerprint: fingerprintOf(keyBlob) };
  if (!isSignedBy(key, signedBytes(SIGNATURE_NAMESPACE, bytesOfHex(hexOf(manifestDigest))), signature))
    throw new Error(
      `expected a signature of the manifest with digest ${manifestDigest}, found one of something else, which names the key ${signer.fingerprint}`,
    );
  return signer;
}

function fingerprintOf(keyBlob: Buffer): string {
  return `SHA256:${base64Of(sha256Bytes(keyBlob)).replaceAll('=', '')}`;
}

function bytesOfHex(hex: string): Buffer {
  return Buffer.from((hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16)));
}
