import { MOBY } from '../docker/daemon-config.ts';
import { fullName, repositoryOf } from '../docker/reference.ts';
import type { Descriptor } from './api/services.ts';

/** The namespace that Kubernetes' CRI plugin has its images in (containerd, internal/cri/constants). */
export const KUBERNETES = 'k8s.io';

/** The name that Docker shows for an image's full name (distribution/reference, normalize.go, familiarizeName). */
export function familiarName(full: string): string {
  const short = full.replace(/^docker\.io\/(?:library\/(?!.*\/))?/, '');
  return fullName(short) === full ? short : full;
}

/**
 * The name under which an image stays that has lost its own. In Docker's namespace it is the one that dockerd itself
 * gives (moby, daemon/containerd/image_delete.go, ensureDanglingImage). Elsewhere it has the image's digest.
 */
export function nameWithoutTag(namespace: string, name: string, digest: string): string {
  return namespace === MOBY ? danglingName(digest) : `${repositoryOf(name)}@${digest}`;
}

export function danglingName(digest: string): string {
  return `moby-dangling@${digest}`;
}

/**
 * The names that an image has besides the tag or digest by which a disk calls it. The CRI plugin looks images up by
 * their digest and by their configuration. When it pulls an image, it makes such records itself (containerd,
 * internal/cri/server/images/image_pull.go).
 */
export function furtherNames(namespace: string, name: string, target: Descriptor, configDigest: string): string[] {
  if (namespace !== KUBERNETES || name === configDigest) return [];
  return isTagged(name) ? [`${repositoryOf(name)}@${target.digest}`, configDigest] : [configDigest];
}

function isTagged(name: string): boolean {
  return !name.includes('@') && !name.startsWith('sha256:');
}

/** Whether a record of this name may be one that `furtherNames` gives. */
export function isFurtherName(namespace: string, name: string): boolean {
  return namespace === KUBERNETES && !isTagged(name);
}
