/**
 * Image references in dockerd's "familiar" form, as they are keys in repositories.json: `alpine:3.20`,
 * `ghcr.io/x/y@sha256:…` (distribution/reference, regexp.go).
 */
export interface Reference {
  /** The repository's name: `alpine`, `ghcr.io/x/y`. */
  readonly repository: string;
  /** The whole: repository with tag or digest. */
  readonly text: string;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const HOST = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = `(?:${HOST}(?:\\.${HOST})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const NAME = new RegExp(`^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** reference.RepositoryNameTotalLengthMax */
const MAX_REPOSITORY_LENGTH = 255;

/**
 * Checks one entry of repositories.json: that the repository's name is valid, and that the reference is that name with a
 * tag or a digest. Returns undefined where it is not; dockerd would pass over it, too, or never find it.
 */
export function parseReference(repository: string, text: string): Reference | undefined {
  if (!isRepository(repository) || !text.startsWith(repository)) return undefined;
  const rest = text.slice(repository.length);
  const valid =
    (rest.startsWith(':') && TAG.test(rest.slice(1))) || (rest.startsWith('@') && DIGEST.test(rest.slice(1)));
  return valid ? { repository, text } : undefined;
}

/** Whether the text is a tag alone: `latest`, `v1.2`. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** The repository of a reference that is known to be valid. */
export function repositoryOf(reference: string): string {
  const at = reference.indexOf('@');
  if (at !== -1) return reference.slice(0, at);
  // A colon before the last slash belongs to a registry's port.
  return reference.slice(0, reference.lastIndexOf(':'));
}

/** The tag of a reference that is known to be valid; undefined where it has a digest. */
export function tagOf(reference: string): string | undefined {
  return reference.includes('@') ? undefined : reference.slice(reference.lastIndexOf(':') + 1);
}

/** `sha256` is refused as a repository's name (reference/store.go, addReference). */
function isRepository(name: string): boolean {
  return name.length <= MAX_REPOSITORY_LENGTH && name !== 'sha256' && NAME.test(name);
}
