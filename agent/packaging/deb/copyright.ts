import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * The text of `usr/share/doc/docker-preloader/copyright`: our licence, and those of everything in the executable.
 * @param root the repository
 * @param packages names of the npm packages in the bundle
 * @throws an Error if one of them has no licence
 */
export function copyright(root: string, packages: readonly string[]): string {
  const licences = packages.map((name) => {
    const [file] = globSync('{LICENSE,license,LICENCE,licence}*', {
      cwd: path.join(root, 'node_modules', name),
    }).toSorted();
    if (file === undefined) throw new Error(`Expected a licence in node_modules/${name}, found none`);
    return `${name}\n${'-'.repeat(name.length)}\n${readFileSync(path.join(root, 'node_modules', name, file), 'utf8').trim()}\n`;
  });
  return [
    `docker-preloader\n================\n${readFileSync(path.join(root, 'LICENSE'), 'utf8').trim()}\n`,
    runtimeLicence,
    'The executable contains these npm packages\n==========================================\n',
    ...licences,
  ].join('\n');
}

const runtimeLicence = `The executable contains Bun
===========================
Bun is under the MIT licence, Copyright (c) Oven. It links JavaScriptCore and other parts of WebKit statically, which are
under the GNU Library General Public License version 2 (/usr/share/common-licenses/LGPL-2) and BSD licences, and further
libraries. Their list with licences, and how to link Bun with another JavaScriptCore: https://bun.com/docs/project/license
`;
