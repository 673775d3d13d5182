import { lstatSync, readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Archive } from './archive.ts';
import { DOCKER_MANIFEST } from './docker-archive.ts';
import { archiveError, noImages } from './archive-error.ts';
import { identityOf, MemberArchive, type Member } from './member-archive.ts';
import { OCI_INDEX } from './oci-index.ts';

const MAX_ENTRIES = 100_000;
/** The target of any link that leads outside. */
const OUTSIDE = '..';

/**
 * The files of an OCI layout, or of an unpacked archive, in a folder. Symlinks are noted and not followed, so nothing
 * outside is looked at and nothing is listed twice.
 */
export function openFolder(name: string): Archive {
  const root = realpathSync(name);
  // Checked before the whole folder is listed: somebody may have given the root of a whole system.
  if (
    [DOCKER_MANIFEST, OCI_INDEX].every((entry) => lstatSync(join(root, entry), { throwIfNoEntry: false }) === undefined)
  )
    throw noImages(name);
  const members = new Map<string, Member>();
  const links = new Map<string, string>();
  const folders = [''];
  let entries = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const last of readdirSync(join(root, folder))) {
      const entry = folder === '' ? last : `${folder}/${last}`;
      const path = join(root, entry);
      const stats = lstatSync(path, { throwIfNoEntry: false });
      if ((entries += 1) > MAX_ENTRIES) throw archiveError(name, `expected at most ${MAX_ENTRIES} files, found more`);
      if (stats?.isDirectory() === true) folders.push(entry);
      else if (stats?.isFile() === true)
        members.set(entry, { path, offset: 0, sizeBytes: stats.size, identity: identityOf(stats) });
      else if (stats?.isSymbolicLink() === true) links.set(entry, withinRoot(root, readlinkSync(path)));
    }
  }
  return new MemberArchive(name, members, links);
}

function withinRoot(root: string, target: string): string {
  if (!target.startsWith('/')) return target;
  return target.startsWith(`${root}/`) ? target.slice(root.length) : `/${OUTSIDE}`;
}
