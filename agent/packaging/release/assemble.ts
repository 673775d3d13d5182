import { createHash } from 'node:crypto';
import { copyFileSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { VERSION } from '../../version.ts';
import { type Architecture, distFolder } from '../architecture.ts';
import { built } from '../build-program.ts';
import { writeAptRepository } from './apt-repository.ts';
import { partsOfModule, partsOfSmall, partsOfWhole } from './contents.ts';
import { writeNpmPackage } from './npm-package.ts';
import { earlierPackages, type ReleasedPackage, releasedPackage } from './released-package.ts';
import { type Program, sbom } from './sbom.ts';
import { sign } from './signature.ts';
import { writeSystemExtension } from './system-extension.ts';

export interface ReleaseOptions {
  /** What it is made for. */
  readonly architectures: readonly Architecture[];
  /** The time of all files. */
  readonly date: Date;
  /** The OpenPGP key that signs it. */
  readonly key: string;
  /** A folder with packages of earlier releases, which stay in the apt repository. */
  readonly earlier?: string | undefined;
}

/**
 * Puts a release together of what `npm run package` has made for each architecture. The same packages and date give the
 * same bytes, but for the signatures.
 * @param root the repository
 * @param folder is there, and empty
 */
export async function assembleRelease(
  root: string,
  folder: string,
  { architectures, date, key, earlier }: ReleaseOptions,
): Promise<void> {
  const at = (name: string): string => path.join(folder, name);
  const before = earlier === undefined ? [] : await earlierPackages(earlier);
  const programs: Program[] = [];
  const packages: ReleasedPackage[] = [];
  for (const architecture of architectures) {
    const base = `docker-preloader_${VERSION}_${architecture.name}`;
    for (const file of [`${base}.deb`, `${base}.tar.gz`]) copyFileSync(path.join(root, 'dist', file), at(file));
    packages.push(await releasedPackage(at(`${base}.deb`)));
    await writeSystemExtension(at(`${base}.tar.gz`), architecture.systemdName, date, at(`${base}.sysext.raw`));
    const dist = path.join(root, distFolder(architecture));
    const [small, whole] = [built.small, built.whole].map((file) => readFileSync(path.join(dist, file))) as [
      Buffer,
      Buffer,
    ];
    programs.push(
      {
        name: `usr/bin/docker-preloader (${architecture.name})`,
        content: small,
        parts: partsOfSmall(root, small, architecture),
      },
      {
        name: `usr/lib/docker-preloader/docker-preloader (${architecture.name})`,
        content: whole,
        parts: await partsOfWhole(root, architecture),
      },
    );
  }
  copyFileSync(path.join(root, 'units/sysext/docker-preloader-sysext.service'), at('docker-preloader-sysext.service'));
  await writeNpmPackage(root, folder);
  const module = readFileSync(path.join(root, 'dist', built.module));
  programs.push({ name: built.module, content: module, parts: await partsOfModule(root) });
  writeFileSync(at(`docker-preloader_${VERSION}.cdx.json`), sbom(programs, VERSION, date));
  writeFileSync(at('SHA256SUMS'), sums(folder));
  await sign(at('SHA256SUMS'), at('SHA256SUMS.asc'), 'detached', key);
  mkdirSync(at('apt'));
  await writeAptRepository(at('apt'), {
    packages: [...packages, ...before],
    architectures: architectures.map(({ name }) => name),
    date,
    key,
  });
}

/** As sha256sum(1) writes and checks them. The apt repository has sums of its own. */
function sums(folder: string): string {
  const files = globSync('*', { cwd: folder }).filter((name) => statSync(path.join(folder, name)).isFile());
  const sha256 = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(path.join(folder, name)))
      .digest('hex');
  return files
    .toSorted()
    .map((name) => `${sha256(name)}  ${name}\n`)
    .join('');
}
