import { repositoryOf } from '../../docker/reference.ts';

const REGISTRY = 'docker://';

/**
 * Checks what names an image in a registry, such as `docker://registry.example/disks/app:1`.
 * @throws Error, in which no password is told
 */
export function checkRegistryName(name: string): void {
  if (CREDENTIALS.test(name))
    throw new Error(
      'expected the name of an image, found somebody before it, as in user:password@, which everybody sees: use skopeo login, or --authfile FILE',
    );
  if (!/^docker:\/\/[^\s/-][^\s]*$/.test(name))
    throw new Error(
      `expected the name of an image in a registry, as in docker://registry.example/app:1, found '${name}'`,
    );
}

/** What stands before the registry's name, and no digest behind the image's. */
const CREDENTIALS = /@(?!sha256:)/;

/** Its repository, with the registry. */
export function nameOf(name: string): string {
  return repositoryOf(name.slice(REGISTRY.length));
}
