import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import * as z from 'zod/mini';
import { chosenArchitecture, distFolder, ownArchitecture } from './architecture.ts';
import { tarGz } from './deb/archives.ts';
import { build } from './build-program.ts';
import { copyright } from './deb/copyright.ts';
import { deb } from './deb/deb.ts';
import { documents } from './deb/documents.ts';
import { documentation } from './manual/documentation.ts';
import { packagedFiles } from './deb/packaged-files.ts';
import { readTree } from './deb/folder-content.ts';
import { sourceDate } from './source-date.ts';
import { buildOrTell, requireBuildTools } from './small/build-tools.ts';
import { writeWhole } from './program/write-whole.ts';

/**
 * `npm run package`: builds, then makes `docker-preloader_VERSION_amd64.deb` and a `.tar.gz` of the same tree.
 * The same sources and the same SOURCE_DATE_EPOCH give the same bytes.
 * @param root the repository
 * @param architecture what the package is for, by default this machine's
 * @returns the paths of both archives, in `dist`
 */
export async function makePackages(root: string, architecture = ownArchitecture()): Promise<string[]> {
  const dist = distFolder(architecture);
  requireBuildTools(architecture);
  const mtime = sourceDate(root);
  const contents = await build(root, path.join(root, dist), architecture);
  const { version } = readPackageJson(root);
  const notice = {
    path: 'usr/share/doc/docker-preloader/copyright',
    mode: 0o644,
    content: Buffer.from(copyright(root, contents)),
  };
  const files = [...readTree(root, packagedFiles(dist)), ...documents(root), ...documentation(mtime), notice];
  const scripts = readTree(root, [
    { from: 'agent/packaging/deb/debian/{postinst,prerm,postrm}', to: './', mode: 0o755 },
  ]).map((script) => ({ ...script, path: path.basename(script.path) }));
  const data = await tarGz(files, mtime);
  const base = path.join(root, 'dist', `docker-preloader_${version}_${architecture.name}`);
  writeWhole(`${base}.tar.gz`, data);
  writeWhole(`${base}.deb`, await deb({ version, architecture: architecture.name, files, data, scripts, mtime }));
  return [`${base}.deb`, `${base}.tar.gz`];
}

function readPackageJson(root: string): { version: string } {
  const parsed: unknown = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  return z.object({ version: z.string() }).parse(parsed);
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  for (const file of await buildOrTell(() => makePackages(root, chosenArchitecture(process.argv.slice(2))))) {
    console.log(`${path.relative(root, file)}: ${(statSync(file).size / 1e6).toFixed(1)} MB`);
  }
}
