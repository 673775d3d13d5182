import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Contents } from '../build-program.ts';

/**
 * The text of `usr/share/doc/docker-preloader/copyright`: our licence, and those of everything in the executables.
 * @param root the repository
 * @throws an Error if one of the packages in them has no licence
 */
export function copyright(root: string, { bundledPackages, engineLicence }: Contents): string {
  const licences = bundledPackages.map((name) => {
    const [file] = globSync('{LICENSE,license,LICENCE,licence}*', {
      cwd: path.join(root, 'node_modules', name),
    }).toSorted();
    if (file === undefined) throw new Error(`Expected a licence in node_modules/${name}, found none`);
    return `${name}\n${'-'.repeat(name.length)}\n${readFileSync(path.join(root, 'node_modules', name, file), 'utf8').trim()}\n`;
  });
  return [
    `docker-preloader\n================\n${readFileSync(path.join(root, 'LICENSE'), 'utf8').trim()}\n`,
    `${engine}${engineLicence.trim()}\n`,
    libraryLicence,
    runtimeLicence,
    'The executables contain these npm packages\n==========================================\n',
    ...licences,
  ].join('\n');
}

const engine = `/usr/bin/docker-preloader contains QuickJS, from the sources of Debian's package quickjs
===============================================================================
`;

const libraryLicence = `/usr/bin/docker-preloader contains parts of the GNU C Library
=============================================================
They are under the GNU Lesser General Public License version 2.1 or later (/usr/share/common-licenses/LGPL-2.1). The program
is linked with another version of the library by building it, from the sources of this package, where that is installed.

/usr/bin/docker-preloader contains parts of libgcc
==================================================
They are under the GNU General Public License version 3 or later (/usr/share/common-licenses/GPL-3), with the GCC Runtime
Library Exception 3.1, by which that does not extend to the program.
`;

const runtimeLicence = `/usr/lib/docker-preloader/docker-preloader contains Bun
=======================================================
Bun is under the MIT licence, Copyright (c) Oven. It links JavaScriptCore and other parts of WebKit statically, which are
under the GNU Library General Public License version 2 (/usr/share/common-licenses/LGPL-2) and BSD licences, and further
libraries. Their list with licences, and how to link Bun with another JavaScriptCore: https://bun.com/docs/project/license
`;
