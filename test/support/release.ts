import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { architectureOf } from '../../agent/packaging/architecture.ts';
import { assembleRelease } from '../../agent/packaging/release/assemble.ts';
import { releasePackages } from '../../agent/packaging/release/release-tool.ts';
import { ensureDebianPackages } from './debian-packages.ts';
import { earlierPackage } from './earlier-package.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** A key for tests, which gpg has in a folder of its own: GNUPGHOME of this process says so. @param folder is made */
export async function signingKeyIn(folder: string): Promise<string> {
  await ensureDebianPackages(releasePackages, { install: true });
  mkdirSync(folder, { mode: 0o700 });
  process.env['GNUPGHOME'] = folder;
  const name = 'docker-preloader tests <tests@docker-preloader.invalid>';
  await execa('gpg', ['--batch', '--passphrase', '', '--quick-generate-key', name, 'ed25519', 'sign', 'never']);
  // The agent would stay when the folder is gone.
  await execa('gpgconf', ['--kill', 'all']);
  return name;
}

/**
 * Puts a release together of what `npm run package` has made, with 0.1.0 in its apt repository.
 * @param folder is made
 * @param names of architectures
 */
export async function releaseIn(folder: string, key: string, names: readonly string[]): Promise<void> {
  mkdirSync(folder);
  const [architectures, date] = [names.map(architectureOf), new Date(1_700_000_000_000)];
  await assembleRelease(root, folder, { architectures, date, key, earlier: await earlierPackage() });
  await execa('gpgconf', ['--kill', 'all']);
}
