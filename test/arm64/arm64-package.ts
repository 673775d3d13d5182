import { globSync } from 'node:fs';
import path from 'node:path';
import { architectureOf, distFolder } from '../../agent/packaging/architecture.ts';
import { built } from '../../agent/packaging/build-program.ts';

const root = path.resolve(import.meta.dirname, '../..');
const dist = path.join(root, distFolder(architectureOf('arm64')));

/** What `npm run package -- --arch arm64` has made: both executables, and the package that has them. */
export const arm64 = {
  small: path.join(dist, built.small),
  whole: path.join(dist, built.whole),
  get deb(): string {
    const [found, ...more] = globSync('dist/docker-preloader_*_arm64.deb', { cwd: root });
    if (found === undefined || more.length > 0)
      throw new Error(
        `Expected one dist/docker-preloader_*_arm64.deb, found ${found === undefined ? 'none' : [found, ...more].join(', ')}: run \`npm run package -- --arch arm64\` before`,
      );
    return path.join(root, found);
  },
};
