import { createHash } from 'node:crypto';
import { ar, tarGz } from './archives.ts';
import type { TreeFile } from './folder-content.ts';

export interface DebOptions {
  readonly version: string;
  /** As Debian calls it. */
  readonly architecture: string;
  /** What the package installs. */
  readonly files: readonly TreeFile[];
  /** The same files as a gzipped tar. */
  readonly data: Buffer;
  /** Maintainer scripts: postinst, prerm, postrm. */
  readonly scripts: readonly TreeFile[];
  readonly mtime: Date;
}

/**
 * A Debian package (deb(5)), made without dpkg-deb, so that it works on any build machine and the same input gives the
 * same bytes.
 */
export async function deb(options: DebOptions): Promise<Buffer> {
  const control = await tarGz(
    [
      { path: 'control', mode: 0o644, content: Buffer.from(controlFile(options)) },
      { path: 'md5sums', mode: 0o644, content: Buffer.from(md5sums(options.files)) },
      ...options.scripts,
    ],
    options.mtime,
  );
  return ar(
    [
      { name: 'debian-binary', content: Buffer.from('2.0\n') },
      { name: 'control.tar.gz', content: control },
      { name: 'data.tar.gz', content: options.data },
    ],
    options.mtime,
  );
}

/** A version of package.json as dpkg compares them: 1.0.0~rc.1 comes before 1.0.0. */
export function debianVersion(version: string): string {
  return version.replace('-', '~');
}

/**
 * deb-control(5). glibc 2.17 is the newest version of any symbol that the executable uses (`objdump -T`). Docker is
 * only recommended, because it comes under several names, or without a package. `docker-preloader build` uses the
 * suggested packages.
 */
function controlFile({ version, architecture, files }: DebOptions): string {
  const sizeKiB = files.reduce((sum, { content }) => sum + Math.ceil(content.length / 1024), 0);
  return `Package: docker-preloader
Version: ${debianVersion(version)}
Architecture: ${architecture}
Maintainer: The docker-preloader authors <maintainers@docker-preloader.invalid>
Installed-Size: ${sizeKiB}
Depends: libc6 (>= 2.17)
Recommends: docker.io | docker-ce
Suggests: e2fsprogs, erofs-utils, qemu-utils, skopeo
Section: admin
Priority: optional
Description: Docker images that are there before dockerd starts
 Image archives are unpacked once onto a read-only disk, which any number of
 virtual machines attach. In each, a small daemon makes the images of the disk
 part of /var/lib/docker before docker.service starts, without copying their
 layers. The program also makes such disks, without Docker or root.
`;
}

function md5sums(files: readonly TreeFile[]): string {
  const lines = files.map(({ path, content }) => `${createHash('md5').update(content).digest('hex')}  ${path}\n`);
  return lines.toSorted((a, b) => (a.slice(34) < b.slice(34) ? -1 : 1)).join('');
}
