import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { type ReleasedPackage, withoutCopies } from './released-package.ts';
import { runTool } from './release-tool.ts';
import { exportKey, sign } from './signature.ts';

/** What apt's users write into their sources: `deb URL stable main`. */
const SUITE = 'stable';
const COMPONENT = 'main';

export interface AptRepository {
  readonly packages: readonly ReleasedPackage[];
  /** As Debian calls them. */
  readonly architectures: readonly string[];
  readonly date: Date;
  /** The OpenPGP key that signs it. */
  readonly key: string;
}

/**
 * Makes a signed apt repository: a folder that any web server, or file:, hands out. But for the signatures, the same
 * packages and date give the same bytes.
 * @param folder is made
 * @throws PreloaderError BUILD_FAILED, also where two packages differ that apt takes for one
 */
export async function writeAptRepository(folder: string, repository: AptRepository): Promise<void> {
  const { packages, architectures, date, key } = repository;
  const suite = path.join(folder, 'dists', SUITE);
  mkdirSync(path.join(folder, 'pool'), { recursive: true });
  // apt-ftparchive takes a package's architecture from its name.
  for (const { file, name } of withoutCopies(packages)) copyFileSync(file, path.join(folder, 'pool', name));
  for (const architecture of architectures) {
    const index = path.join(suite, COMPONENT, `binary-${architecture}`);
    mkdirSync(index, { recursive: true });
    const listed = await runTool('apt-ftparchive', ['--arch', architecture, 'packages', 'pool'], folder);
    writeFileSync(path.join(index, 'Packages'), `${listed}\n`);
    // No name and no time in gzip's header: the same text gives the same bytes.
    writeFileSync(path.join(index, 'Packages.gz'), gzipSync(`${listed}\n`, { level: 9 }));
  }
  writeFileSync(path.join(suite, 'Release'), await release(suite, architectures, date));
  await sign(path.join(suite, 'Release'), path.join(suite, 'InRelease'), 'inline', key);
  await sign(path.join(suite, 'Release'), path.join(suite, 'Release.gpg'), 'detached', key);
  await exportKey(key, path.join(folder, 'docker-preloader.asc'));
}

async function release(suite: string, architectures: readonly string[], date: Date): Promise<string> {
  const fields = {
    Origin: 'docker-preloader',
    Label: 'docker-preloader',
    Suite: SUITE,
    Codename: SUITE,
    Architectures: architectures.join(' '),
    Components: COMPONENT,
    Description: 'Docker images that are there before dockerd starts',
  };
  const options = [
    ...Object.entries(fields).map(([name, value]) => `APT::FTPArchive::Release::${name}=${value}`),
    // apt takes neither for a proof any more.
    'APT::FTPArchive::MD5=false',
    'APT::FTPArchive::SHA1=false',
  ];
  const text = await runTool('apt-ftparchive', [...options.flatMap((option) => ['-o', option]), 'release', '.'], suite);
  // It knows no other time than now (apt-ftparchive 2.6 to 3.0, writer.cc).
  return `${text.replace(/^Date: .*$/m, `Date: ${date.toUTCString().replace('GMT', '+0000')}`)}\n`;
}
