import { isSha256Digest } from '../text/sha256-digest.ts';

/**
 * An image reference in dockerd's "familiar" form, as it is a key in repositories.json: `alpine:3.20`,
 * `ghcr.io/x/y@sha256:…` (distribution/reference, regexp.go).
 */
export interface Reference {
  /** The repository's name: `alpine`, `ghcr.io/x/y`. */
  readonly repository: string;
  /** The whole reference: repository with tag or digest. */
  readonly text: string;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const HOST = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = `(?:${HOST}(?:\\.${HOST})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const NAME = new RegExp(`^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
/** reference.RepositoryNameTotalLengthMax */
const MAX_REPOSITORY_LENGTH = 255;

/**
 * Parses one entry of repositories.json. The repository's name must be valid, and the reference must be that name with
 * a tag or a digest. Otherwise it returns undefined: dockerd would ignore such an entry, too, or never find it.
 */
export function parseReference(repository: string, text: string): Reference | undefined {
  if (!isRepository(repository) || !text.startsWith(repository)) return undefined;
  const rest = text.slice(repository.length);
  const valid =
    (rest.startsWith(':') && TAG.test(rest.slice(1))) || (rest.startsWith('@') && isSha256Digest(rest.slice(1)));
  return valid ? { repository, text } : undefined;
}

/** Whether the text is a tag alone: `latest`, `v1.2`. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** A name without its tag and digest: of a valid reference its repository. */
export function repositoryOf(name: string): string {
  const at = name.indexOf('@');
  if (at !== -1) return name.slice(0, at);
  const colon = name.lastIndexOf(':');
  // A colon before the last slash belongs to a registry's port.
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

/** The tag of a reference that is known to be valid. Undefined if it has a digest. */
export function tagOf(reference: string): string | undefined {
  return reference.includes('@') ? undefined : reference.slice(reference.lastIndexOf(':') + 1);
}

/**
 * The full name of an image, as containerd's records and `distribution/` have it, from the familiar one that Docker
 * shows. `app:1` is `docker.io/library/app:1` (distribution/reference, normalize.go, splitDockerDomain).
 */
export function fullName(familiar: string): string {
  const slash = familiar.indexOf('/');
  const domain = slash === -1 ? '' : familiar.slice(0, slash);
  if (domain === 'localhost' || /[.:[]/.test(domain) || domain !== domain.toLowerCase()) return familiar;
  return slash === -1 ? `docker.io/library/${familiar}` : `docker.io/${familiar}`;
}

/** Whether a name can be a repository's. dockerd refuses `sha256` (reference/store.go, addReference). */
function isRepository(name: string): boolean {
  return name.length <= MAX_REPOSITORY_LENGTH && name !== 'sha256' && NAME.test(name);
}
