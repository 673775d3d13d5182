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
const DIGEST = /@sha256:[0-9a-f]{64}$/;

/** Its repository, with the registry. */
export function nameOf(name: string): string {
  // Both a tag and a digest may be behind it.
  return repositoryOf(repositoryOf(name.slice(REGISTRY.length)));
}

/** The name by which skopeo finds it, which takes no tag beside a digest: the digest says it all. */
export function askedName(name: string): string {
  const digest = DIGEST.exec(name)?.[0];
  return digest === undefined ? name : `${REGISTRY}${nameOf(name)}${digest}`;
}
