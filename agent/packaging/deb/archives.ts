import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { packTar } from 'modern-tar';
import type { TreeFile } from './folder-content.ts';

/**
 * A gzipped tar of the files and the folders above them. They are sorted, all owned by root and all with the same time,
 * so that the same files give the same bytes. Names begin with `./`, as dpkg lists them. `./` itself is left out, so
 * that unpacking over `/` does not change its mode.
 */
export async function tarGz(files: readonly TreeFile[], mtime: Date): Promise<Buffer> {
  const common = { mtime, uid: 0, gid: 0, uname: 'root', gname: 'root' };
  const folders = [...new Set(files.flatMap((file) => parents(file.path)))].map((folder) => ({
    header: { ...common, name: `./${folder}/`, type: 'directory' as const, mode: 0o755, size: 0 },
  }));
  const entries = files.map(({ path, mode, content }) => ({
    header: { ...common, name: `./${path}`, type: 'file' as const, mode, size: content.length },
    body: content,
  }));
  const sorted = [...folders, ...entries].toSorted((a, b) => (a.header.name < b.header.name ? -1 : 1));
  return promisify(gzip)(await packTar(sorted), { level: 6 });
}

function parents(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** An ar archive (System V's common format, ar(5)) of files owned by root, which is the format of a .deb. */
export function ar(members: readonly { readonly name: string; readonly content: Buffer }[], mtime: Date): Buffer {
  const seconds = String(Math.floor(mtime.getTime() / 1000));
  return Buffer.concat([
    Buffer.from('!<arch>\n'),
    ...members.flatMap(({ name, content }) => [
      Buffer.from(
        `${name.padEnd(16)}${seconds.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(content.length).padEnd(10)}\`\n`,
      ),
      content,
      Buffer.from(content.length % 2 === 1 ? '\n' : ''),
    ]),
  ]);
}
