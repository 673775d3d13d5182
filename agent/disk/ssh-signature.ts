import { bytesOfBase64 } from '../text/base64.ts';

const PREAMBLE = Buffer.from('SSHSIG');
const VERSION = Buffer.from([0, 0, 0, 1]);
const ARMOUR = /^-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n?$/;
const KEY_TYPE = 'ssh-ed25519';

/** What `ssh-keygen -Y sign` writes with an Ed25519 key, for a message of which the sha256 is known. */
export interface SshSignature {
  /** The key as it stands in a .pub file, without base64: what fingerprints are made of. */
  readonly keyBlob: Buffer;
  readonly key: Buffer;
  readonly signature: Buffer;
}

/**
 * Parses a signature (OpenSSH, PROTOCOL.sshsig). It must be the one signature of the file, and nothing else may be in
 * it.
 * @param namespace what it was made for
 * @throws Error with what was expected and found
 */
export function parseSshSignature(text: string, namespace: string): SshSignature {
  const bytes = bytesOfBase64(ARMOUR.exec(text)?.[1]?.replaceAll('\n', '') ?? '');
  const head = PREAMBLE.length + VERSION.length;
  if (bytes === undefined || !bytes.subarray(0, head).equals(Buffer.concat([PREAMBLE, VERSION])))
    throw new Error('expected one signature as ssh-keygen -Y sign writes it, found something else');
  const [keyBlob, madeFor, reserved, hash, signed, ...rest] = stringsOf(bytes.subarray(head));
  if (keyBlob === undefined || signed === undefined || rest.length > 0)
    throw new Error('expected a key and its signature, found another number of fields');
  const key = onlyOf(keyBlob, 32);
  const signature = onlyOf(signed, 64);
  refuseOther('a signature for', namespace, madeFor);
  refuseOther('in the reserved field', '', reserved);
  refuseOther('the hash', 'sha256', hash);
  return { keyBlob, key, signature };
}

/** What the key has signed: not the message, but its digest. */
export function signedBytes(namespace: string, digest: Buffer): Buffer {
  const strings = [Buffer.from(namespace), Buffer.from(''), Buffer.from('sha256'), digest];
  return Buffer.concat([PREAMBLE, ...strings.flatMap((bytes) => [Buffer.from([0, 0, 0, bytes.length]), bytes])]);
}

/** The one field behind the type of an Ed25519 key. */
function onlyOf(bytes: Buffer, length: number): Buffer {
  const [type, field, ...rest] = stringsOf(bytes);
  refuseOther('the type', KEY_TYPE, type);
  if (field?.length !== length || rest.length > 0)
    throw new Error(`expected ${length} bytes behind the type, found something else`);
  return field;
}

function refuseOther(what: string, expected: string, found: Buffer | undefined): void {
  const text = found?.toString('latin1') ?? '';
  if (text !== expected) throw new Error(`expected ${what} '${expected}', found '${text.slice(0, 80)}'`);
}

/**
 * Strings as SSH writes them, each behind its length in four bytes (RFC 4251, section 5).
 * @throws Error where they are cut off
 */
function stringsOf(bytes: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
    const end = at + 4 + a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
    if (at + 4 > bytes.length || end > bytes.length) throw new Error('expected a whole signature, found it cut off');
    strings.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return strings;
}
