import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseTrustedKey } from '../../agent/config/trusted-key.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { signerOf } from '../../agent/disk/manifest-signer.ts';
import { readSignedDisk } from '../../agent/disk/signed-disk.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import { loadImages } from '../boot/fake-store.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeKey, publicLine, signFile } from '../support/signing-key.ts';
import { scratch, tempTree } from '../support/temp-tree.ts';

let folder: string;
/** The files of two keys. */
let key: string;
let other: string;

before(async () => {
  await ensureDebianPackages(['openssh-client'], { install: true });
  folder = (await tempTree('dpl-signed')).path;
  key = makeKey(path.join(folder, 'key'));
  other = makeKey(path.join(folder, 'other'));
});
after(() => cleanUpAll());

const trusted = (...files: readonly string[]): string[] => files.map((file) => parseTrustedKey(publicLine(file)) ?? '');
const fingerprintOf = (file: string): string =>
  execFileSync('ssh-keygen', ['-l', '-f', `${file}.pub`], { encoding: 'utf8' }).split(' ')[1] ?? '';

interface Disk {
  readonly root: string;
  readonly manifest: string;
  readonly signature: string;
  readonly digest: string;
}

/** A disk as a folder, with a manifest that lists nothing, signed. @param about makes it another disk */
function makeSigned(
  t: Parameters<typeof scratch>[0],
  by = key,
  options: Parameters<typeof signFile>[2] = {},
  about = 'test',
): Disk {
  const root = path.join(scratch(t), 'disk');
  loadImages(root, []);
  rmSync(path.join(root, 'image/overlay2/repositories.json'), { force: true });
  const manifest = path.join(root, 'docker-preloader.json');
  writeFileSync(
    manifest,
    JSON.stringify({ formatVersion: '1.0', createdBy: about, images: [], layers: [], metadata: {} }),
  );
  signFile(manifest, by, options);
  return { root, manifest, signature: `${manifest}.sig`, digest: sha256(readFileSync(manifest)) };
}

describe('a disk that must be signed', () => {
  it('is taken where one of the trusted keys has signed it, and who that is, is told as ssh-keygen tells it', (t) => {
    const { root, digest } = makeSigned(t);
    const content = readSignedDisk('dpl-a', root, trusted(other, key));
    assert.deepEqual(
      [content.pinned, content.manifestDigest, content.signedBy, content.findings],
      [true, digest, fingerprintOf(key), []],
    );
  });

  it('must also have the pinned digest, if there is one', (t) => {
    const { root, digest } = makeSigned(t);
    assert.equal(readSignedDisk('dpl-a', root, trusted(key), [digest]).manifestDigest, digest);
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key), [`sha256:${'0'.repeat(64)}`]), {
      code: 'DISK_CONTENT',
    });
  });

  it('is left out without a signature, and without a manifest', (t) => {
    const { root, manifest, signature } = makeSigned(t);
    rmSync(signature);
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key)), {
      code: 'DISK_UNSIGNED',
      message: 'expected a disk that one of the `trustedKeys` has signed, found one without docker-preloader.json.sig',
    });
    rmSync(manifest);
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key)), {
      code: 'DISK_UNSIGNED',
      message: 'expected a disk that one of the `trustedKeys` has signed, found one without a manifest',
    });
  });

  it('is left out where another key has signed it, which is named', (t) => {
    const { root } = makeSigned(t, other);
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key)), {
      code: 'SIGNATURE_UNTRUSTED',
      message: `expected a disk that one of the \`trustedKeys\` has signed, found one that the key ${fingerprintOf(other)} has signed`,
    });
  });

  it('is left out where the manifest was changed, even by a space, before anything of it is read', (t) => {
    const { root, manifest } = makeSigned(t);
    writeFileSync(manifest, `${readFileSync(manifest, 'utf8')} `);
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key)), {
      code: 'SIGNATURE_INVALID',
      message: new RegExp(
        `expected a signature of the manifest with digest ${sha256(readFileSync(manifest))}, found one of something else, which names the key SHA256:`,
      ),
    });
    writeFileSync(manifest, '{');
    assert.throws(() => readSignedDisk('dpl-a', root, trusted(key)), { code: 'SIGNATURE_INVALID' });
  });
});

/** What may lie where the signature belongs, and what is said of it. */
const hostile: readonly (readonly [
  is: string,
  change: (disk: Disk, t: Parameters<typeof scratch>[0]) => void,
  says: RegExp,
])[] = [
  [
    'nothing',
    ({ signature }) => writeFileSync(signature, ''),
    /^docker-preloader\.json\.sig: expected one signature as ssh-keygen -Y sign writes it, found something else$/,
  ],
  [
    '4 MiB',
    ({ signature }) => writeFileSync(signature, Buffer.alloc(4 * 1024 * 1024, 'A')),
    /docker-preloader\.json\.sig: expected at most 4096 bytes, found /,
  ],
  [
    'a folder',
    ({ signature }) => {
      rmSync(signature);
      mkdirSync(signature);
    },
    /docker-preloader\.json\.sig: expected a regular file, found /,
  ],
  [
    'a symlink to a right one',
    ({ root, signature }) => {
      writeFileSync(path.join(root, 'right'), readFileSync(signature));
      rmSync(signature);
      symlinkSync('right', signature);
    },
    /expected a regular file, found a symlink/,
  ],
  [
    'two signatures',
    ({ signature }) => writeFileSync(signature, readFileSync(signature, 'utf8').repeat(2)),
    /found something else$/,
  ],
  [
    'something behind it',
    ({ signature }) => writeFileSync(signature, `${readFileSync(signature, 'utf8')}x`),
    /found something else$/,
  ],
  [
    'something before it',
    ({ signature }) => writeFileSync(signature, `x\n${readFileSync(signature, 'utf8')}`),
    /found something else$/,
  ],
  [
    'bytes more in it',
    ({ signature }) => rewrite(signature, (bytes) => Buffer.concat([bytes, Buffer.from([0, 0, 0, 0])])),
    /found another number of fields$/,
  ],
  [
    'a byte more in it',
    ({ signature }) => rewrite(signature, (bytes) => Buffer.concat([bytes, Buffer.from([0])])),
    /found it cut off$/,
  ],
  ['another version', ({ signature }) => rewrite(signature, (bytes) => bytes.fill(2, 9, 10)), /found something else$/],
  [
    'a length beyond its end',
    ({ signature }) => rewrite(signature, (bytes) => bytes.fill(0xff, 10, 14)),
    /found it cut off$/,
  ],
  ['a public key', ({ signature }) => writeFileSync(signature, publicLine(key)), /found something else$/],
  ['a private key', ({ signature }) => writeFileSync(signature, readFileSync(key)), /found something else$/],
  [
    'the signature of another disk',
    (disk, t) => writeFileSync(disk.signature, readFileSync(makeSigned(t, key, {}, 'another').signature)),
    /found one of something else, which names the key SHA256:/,
  ],
  [
    'a signature for something else',
    ({ manifest }) => resign(manifest, key, { namespace: 'file' }),
    /expected a signature for 'docker-preloader', found 'file'$/,
  ],
  [
    'a signature of another digest',
    ({ manifest }) => resign(manifest, key, { hash: 'sha512' }),
    /expected the hash 'sha256', found 'sha512'$/,
  ],
  [
    'an RSA signature',
    ({ manifest }) => {
      const rsa = path.join(folder, 'rsa');
      rmSync(rsa, { force: true });
      execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-N', '', '-f', rsa]);
      resign(manifest, rsa);
    },
    /expected the type 'ssh-ed25519', found 'ssh-rsa'$/,
  ],
  [
    'names that a terminal would obey',
    ({ signature }) =>
      rewrite(signature, (bytes) =>
        Buffer.from(bytes.toString('latin1').replace('docker-preloader', 'docker\u001b[31mloade'), 'latin1'),
      ),
    /expected a signature for 'docker-preloader', found 'docker\\x1b\[31mloade'$/,
  ],
  [
    'the key of another in it',
    ({ signature }) =>
      rewrite(signature, (bytes) => {
        keyBytes(other).copy(bytes, 33);
        return bytes;
      }),
    /found one of something else/,
  ],
  [
    'a key of a small order in it',
    ({ signature }) => rewrite(signature, (bytes) => bytes.fill(0, 33, 65).fill(1, 33, 34)),
    /found one of something else/,
  ],
];

function rewrite(signature: string, change: (bytes: Buffer) => Buffer): void {
  const text = readFileSync(signature, 'utf8').replaceAll(/-----.*-----|\n/g, '');
  const lines = change(Buffer.from(text, 'base64')).toString('base64').replaceAll(/.{70}/g, '$&\n');
  writeFileSync(signature, `-----BEGIN SSH SIGNATURE-----\n${lines}\n-----END SSH SIGNATURE-----\n`);
}

function resign(manifest: string, by: string, options: Parameters<typeof signFile>[2] = {}): void {
  rmSync(`${manifest}.sig`);
  signFile(manifest, by, options);
}

const keyBytes = (file: string): Buffer => Buffer.from(publicLine(file).split(' ')[1] ?? '', 'base64').subarray(19);

describe('a signature', () => {
  for (const [is, change, says] of hostile)
    it(`costs the disk, and nothing else, with ${is}`, (t) => {
      const disk = makeSigned(t);
      change(disk, t);
      assert.throws(() => readSignedDisk('dpl-a', disk.root, trusted(key)), {
        code: 'SIGNATURE_INVALID',
        message: says,
      });
    });

  it('counts with each of its bytes: cut off or changed anywhere, it is none, and says so in one line', (t) => {
    const { signature, root, digest } = makeSigned(t);
    const files = new FolderReader(root);
    const whole = readFileSync(signature);
    assert.ok(signerOf(files, digest));
    for (let at = 0; at < whole.length; at += 1) {
      // The last line need not end.
      const cut = whole.subarray(0, at);
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      for (const bytes of at === whole.length - 1 ? [changed] : [cut, changed]) {
        writeFileSync(signature, bytes);
        assert.throws(() => signerOf(files, digest), { code: 'SIGNATURE_INVALID', message: /^[^\n]+$/ }, `byte ${at}`);
      }
    }
  });
});
