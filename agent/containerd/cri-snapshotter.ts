import { basename } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { SNAPSHOTTER, type Containerd } from './api/containerd-api.ts';
import { GrpcError } from './api/grpc-error.ts';
import { KUBERNETES } from './record-names.ts';
import type { ContainerdRoots } from './namespace-present.ts';

type Cri = Pick<Containerd, 'criImageFolders'>;

/** The plugin answers later than containerd, because it first finds out what runs. */
const START_MS = 3000;
const RETRY_MS = 20;

/**
 * Says why Kubernetes' namespace is left alone. That is so if its images are in another snapshotter than the one that
 * is served. A disk's image would be listed there all the same, and so kubelet would not pull it. But it could not run,
 * or it would be unpacked from the disk.
 * @param configured what the plugin is configured with, if this containerd stands in for another and has no such plugin
 * @returns undefined if the namespace is served, or if nothing says which snapshotter it has
 */
export async function kubernetesRefusal(
  containerd: Cri,
  { snapshots }: Pick<ContainerdRoots, 'snapshots'>,
  configured?: string,
): Promise<Finding | undefined> {
  const folders = configured === undefined ? await imageFolders(containerd) : [];
  // A folder is called by its plugin (containerd, plugins/cri/images/plugin.go, ImageFSPaths), unless it was moved.
  const names = folders.map((folder) => (folder === snapshots ? SNAPSHOTTER : basename(folder).split('.').pop()));
  const [other = configured] = names;
  if (other === undefined || other === SNAPSHOTTER || names.includes(SNAPSHOTTER)) return undefined;
  return {
    code: 'STORE_UNSUPPORTED',
    message: `namespace ${KUBERNETES} of containerd is left alone: expected Kubernetes to have its images in the snapshotter '${SNAPSHOTTER}', found '${other}'`,
  };
}

async function imageFolders(containerd: Cri): Promise<readonly string[]> {
  for (const deadline = monotonicUsec() + START_MS * 1000; ; await delay(RETRY_MS)) {
    try {
      return await containerd.criImageFolders();
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      // The plugin says so while it starts. Without the plugin, the method is unknown.
      if (!error.message.includes('not initialized') || monotonicUsec() > deadline) return [];
    }
  }
}
