import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { TreeFile } from './folder-content.ts';

const INSTALLED = 'usr/share/doc/docker-preloader';
const CHANGELOG = 'agent/packaging/deb/debian/changelog';
const INSTALLED_CHANGELOG = 'changelog.gz';

/**
 * The installed documents: every README, in the same folder as in the repository, so that the links between them work,
 * the pictures in them, and the changelog where Debian's policy (12.7) wants it.
 * @param root the repository
 * @throws an Error if a file is missing
 */
export function documents(root: string): TreeFile[] {
  const read = (name: string): Buffer => readFileSync(path.join(root, name));
  const readmes = ['README.md', ...globSync('{agent,units,test}/**/README.md', { cwd: root })];
  return [
    ...readmes.map((name) => installed(name, Buffer.from(withInstalledLinks(name, read(name).toString('utf8'))))),
    installed('test/bench/boot-time.svg', read('test/bench/boot-time.svg')),
    // No name and no time in gzip's header: the same text gives the same bytes.
    installed(INSTALLED_CHANGELOG, gzipSync(read(CHANGELOG), { level: 9 })),
  ];
}

function installed(name: string, content: Buffer): TreeFile {
  return { path: `${INSTALLED}/${name}`, mode: 0o644, content };
}

/** Only the links to the changelog lead elsewhere once they are installed. */
function withInstalledLinks(name: string, text: string): string {
  const folder = path.posix.dirname(name);
  return text.replaceAll(/\]\(([^)#:]+)\)/g, (link: string, target: string) =>
    path.posix.join(folder, target) === CHANGELOG ? `](${path.posix.relative(folder, INSTALLED_CHANGELOG)})` : link,
  );
}
