import { globSync, realpathSync } from 'node:fs';
import path from 'node:path';
import type { GuestContent } from './guest.ts';
import { skopeoTree } from './image-tools.ts';
import { registryProgram } from './registry.ts';

const folder = '/opt/skopeo';

/**
 * skopeo and docker-registry for a guest without a network. skopeo brings its own loader, so the guest may be of
 * another suite.
 */
export async function guestSkopeo(): Promise<Required<GuestContent>> {
  const tree = await skopeoTree('trixie');
  const libraries = globSync('usr/lib/x86_64-linux-gnu/*.so*', { cwd: tree });
  return {
    files: {
      ...Object.fromEntries(
        libraries.map((file) => [`${folder}/${path.basename(file)}`, { copyOf: realpathSync(path.join(tree, file)) }]),
      ),
      [`${folder}/skopeo`]: { copyOf: path.join(tree, 'usr/bin/skopeo') },
      '/usr/local/bin/skopeo': `#!/bin/sh\nexec ${folder}/ld-linux-x86-64.so.2 --library-path ${folder} ${folder}/skopeo "$@"\n`,
      '/etc/containers/policy.json': '{"default":[{"type":"insecureAcceptAnything"}]}',
      '/usr/local/bin/docker-registry': { copyOf: await registryProgram() },
    },
    setup: `chmod 755 /usr/local/bin/skopeo /usr/local/bin/docker-registry ${folder}/ld-linux-x86-64.so.2 ${folder}/skopeo`,
  };
}
