import { isTag, repositoryOf } from '../../docker/reference.ts';
import { familiarReference } from './image-name.ts';

/** An image of a registry. */
export interface RegistrySource {
  readonly kind: 'registry';
  /** In dockerd's familiar form: `app`, `ghcr.io/x/y`. */
  readonly repository: string;
  /** Undefined if only its digest was asked for. */
  readonly tag: string | undefined;
  /** Of its manifest or index, if no other will do. */
  readonly digest: string | undefined;
}

/** An image in a store of this machine, of which an archive is made. */
export interface StoreSource {
  readonly kind: 'store';
  /** That of dockerd, or of podman and buildah. */
  readonly store: 'docker' | 'containers';
  /** As docker or skopeo takes it. */
  readonly text: string;
  /** A familiar reference with a tag; undefined if it was asked for by its ID or digest. */
  readonly reference: string | undefined;
}

/** What is not in an archive. */
export type ImageSource = RegistrySource | StoreSource;

const DIGEST = /@(sha256:[0-9a-f]{64})$/;

/**
 * Reads a source as skopeo names it, with `docker://`, `docker-daemon:` or `containers-storage:`; undefined if it is
 * none of these.
 * @throws Error if what follows is not the name of an image
 */
export function parseImageSource(text: string): ImageSource | undefined {
  if (text.startsWith('docker://')) return registrySource(text.slice('docker://'.length));
  if (text.startsWith('docker-daemon:')) return daemonSource(text.slice('docker-daemon:'.length));
  if (text.startsWith('containers-storage:')) return storageSource(text);
  return undefined;
}

function registrySource(text: string): RegistrySource {
  // Not quoted, because errors end up in logs. A password may have a slash in it.
  if (/@(?!sha256:)/.test(text))
    throw new Error(
      'expected a name as in docker://HOST/NAME:TAG, found a user before the host: ' +
        'log in with skopeo login, or name a file of that with --authfile',
    );
  const digest = DIGEST.exec(text)?.[1];
  const name = digest === undefined ? text : text.replace(DIGEST, '');
  const reference = familiarReference(name);
  const isTagged = digest === undefined || name.includes(':', name.lastIndexOf('/') + 1);
  return {
    kind: 'registry',
    repository: repositoryOf(reference),
    tag: isTagged ? reference.slice(reference.lastIndexOf(':') + 1) : undefined,
    digest,
  };
}

function daemonSource(text: string): StoreSource {
  const isId = /^sha256:[0-9a-f]{64}$/.test(text);
  const reference = isId || DIGEST.test(text) ? undefined : familiarReference(text);
  return { kind: 'store', store: 'docker', text: reference ?? text, reference };
}

/** `containers-storage:[STORE]NAME`, or `@ID` behind the store, or behind a name. */
function storageSource(text: string): StoreSource {
  const name = text.replace(/^containers-storage:(?:\[[^\]]*\])?/, '');
  // Not quoted, because there may be a password in it.
  if (name.startsWith('//')) throw new Error('expected a name as in containers-storage:NAME:TAG, found an address');
  const isId = /@|^[0-9a-f]{64}$/.test(name);
  return { kind: 'store', store: 'containers', text, reference: isId ? undefined : familiarReference(name) };
}

/** Where the `=` of a name begins behind a source; -1 if there is none. A store's options may have one as well. */
export function nameStart(text: string): number {
  const at = text.lastIndexOf('=');
  return at > text.lastIndexOf(']') ? at : -1;
}

/** A source as it is written, without a digest that it has beside its tag. */
export function describeSource(source: ImageSource): string {
  if (source.kind === 'store') return source.store === 'docker' ? `docker-daemon:${source.text}` : source.text;
  const { repository, tag, digest } = source;
  return `docker://${repository}${tag === undefined || !isTag(tag) ? `@${digest ?? ''}` : `:${tag}`}`;
}
