import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { requireKey } from '../../../agent/packaging/release/signature.ts';
import { signingKeyIn } from '../../support/release.ts';
import { type TempTree, tempTree } from '../../support/temp-tree.ts';

describe('the key of a release', () => {
  let folder: TempTree;
  let tests = '';

  async function newKey(
    name: string,
    passphrase: string,
    lasts = 'never',
    ...options: readonly string[]
  ): Promise<void> {
    const words = `--batch --pinentry-mode loopback --quick-generate-key ${name}@docker-preloader.invalid ed25519 sign ${lasts}`;
    await execa('gpg', ['--passphrase', passphrase, ...options, ...words.split(' ')]);
  }

  before(async () => {
    folder = await tempTree();
    tests = await signingKeyIn(path.join(folder.path, 'gnupg'));
    await newKey('locked', 'a passphrase');
    await newKey('twice+one', '');
    await newKey('twice+two', '');
    await newKey('expired', '', '1d', '--faked-system-time=20200101T000000');
    // It would know the passphrase.
    await execa('gpgconf', ['--kill', 'all']);
  });
  after(async () => {
    await execa('gpgconf', ['--kill', 'all']);
    await folder.remove();
  });

  it('is told by its fingerprint, however it was named, also where the folder of keys is relative', async (t) => {
    const fingerprint = await requireKey(tests);
    assert.match(fingerprint, /^[0-9A-F]{40}$/);
    assert.equal(await requireKey(fingerprint), fingerprint);
    const absolute = process.env['GNUPGHOME'];
    t.after(() => {
      process.env['GNUPGHOME'] = absolute;
      delete process.env['INIT_CWD'];
    });
    process.env['GNUPGHOME'] = 'gnupg';
    process.env['INIT_CWD'] = folder.path;
    assert.equal(await requireKey(fingerprint), fingerprint);
  });

  it('is refused before anything is built, where it would not sign in the end', async () => {
    for (const [key, message] of [
      ['expired@', /^expected an OpenPGP key that signs, found that 'expired@' does not \(gpg: .*(Unusable|expired).*/],
      ['locked@', /^expected an OpenPGP key that signs, found that 'locked@' does not \(gpg: .*failed.*gpg-agent/],
      ['twice+', /^expected one secret OpenPGP key 'twice\+', found 2: .* [0-9A-F]{40} or [0-9A-F]{40}$/],
      ['nobody', /^expected a secret OpenPGP key 'nobody', found none/],
      ['', /^expected a secret OpenPGP key '', found none/],
      ['--version', /^expected a secret OpenPGP key '--version', found none/],
    ] as const)
      await assert.rejects(requireKey(key), { name: 'PreloaderError', message });
  });
});
