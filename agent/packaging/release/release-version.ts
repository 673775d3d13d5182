import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PreloaderError } from '../../system/errors.ts';
import { debianVersion } from '../deb/deb.ts';

const CHANGELOG = 'agent/packaging/deb/debian/changelog';

/** Semantic Versioning 2.0.0, without build metadata, which npm leaves out of the names of packages. */
const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\dA-Za-z.-]+)?$/;

/**
 * Makes sure that npm and dpkg take the version, and that the changelog begins with it.
 * @param root the repository
 * @throws PreloaderError BUILD_FAILED
 */
export function requireVersion(root: string, version: string): void {
  if (!VERSION.test(version))
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected a version such as 1.2.3 or 1.2.3-rc.1 in package.json, found '${version}'`,
    );
  const [first = ''] = readFileSync(path.join(root, CHANGELOG), 'utf8').split('\n');
  const expected = `docker-preloader (${debianVersion(version)}) `;
  if (!first.startsWith(expected))
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected '${expected.trim()}' where ${CHANGELOG} begins, found '${first}': say there what is new`,
    );
}
