import { execa } from 'execa';
import { ensureDebianPackages } from './debian-packages.ts';
import type { GuestContent } from './guest.ts';

const folder = '/opt/curl';

/**
 * This machine's curl with all that it is linked to, for a guest without a network: the README's examples run there as
 * they stand. It brings its own loader, so the guest may be of another suite.
 */
export async function guestCurl(): Promise<Required<GuestContent>> {
  await ensureDebianPackages(['curl'], { install: true });
  const { stdout } = await execa('ldd', ['/usr/bin/curl']);
  const libraries = [...stdout.matchAll(/(\/\S+\.so\S*)/g)].map(([, file = '']) => file);
  const loader = libraries.find((file) => file.includes('/ld-linux'));
  if (loader === undefined) throw new Error(`Expected ldd to name the loader of /usr/bin/curl, got:\n${stdout}`);
  const inGuest = (file: string): string => `${folder}/${file.split('/').at(-1) ?? ''}`;
  return {
    files: {
      ...Object.fromEntries(['/usr/bin/curl', ...libraries].map((file) => [inGuest(file), { copyOf: file }])),
      '/usr/local/bin/curl': `#!/bin/sh\nexec ${inGuest(loader)} --library-path ${folder} ${folder}/curl "$@"\n`,
    },
    setup: `chmod 755 /usr/local/bin/curl ${inGuest(loader)}`,
  };
}
