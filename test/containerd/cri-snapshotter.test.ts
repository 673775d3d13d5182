import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { kubernetesRefusal } from '../../agent/containerd/cri-snapshotter.ts';
import { GrpcError } from '../../agent/containerd/api/grpc-error.ts';

const roots = { snapshots: '/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs' };
const starting = new GrpcError('other', '/runtime.v1.ImageService/ImageFsInfo: server is not initialized yet');
const none = new GrpcError('unimplemented', '/runtime.v1.ImageService/ImageFsInfo: unknown service');

/** CRI that gives these answers in turn, the last one again and again. */
function criThat(...answers: readonly (GrpcError | readonly string[])[]): Parameters<typeof kubernetesRefusal>[0] {
  let next = 0;
  return {
    criImageFolders: async () => {
      const answer = answers[Math.min(next++, answers.length - 1)] ?? [];
      if (answer instanceof GrpcError) throw answer;
      return answer;
    },
  };
}

const folder = (name: string): string => `/var/lib/containerd/io.containerd.snapshotter.v1.${name}`;

describe('the namespace of Kubernetes', () => {
  for (const [is, cri, snapshots] of [
    ['where CRI has its images in overlayfs', criThat([folder('overlayfs')]), roots.snapshots],
    ['where CRI does not know that overlayfs was moved', criThat([folder('overlayfs')]), '/mnt/snapshots'],
    ['where overlayfs was moved', criThat(['/mnt/snapshots']), '/mnt/snapshots'],
    ['where one of several is overlayfs', criThat([folder('native'), folder('overlayfs')]), roots.snapshots],
    ['where there is no CRI', criThat(none), roots.snapshots],
    ['where CRI starts, and then says so', criThat(starting, starting, [folder('overlayfs')]), roots.snapshots],
  ] as const)
    it(`is served ${is}`, async () => {
      assert.equal(await kubernetesRefusal(cri, { snapshots }), undefined);
    });

  it('is left alone where CRI has its images elsewhere, also where it says so only when it has started', async () => {
    const finding = await kubernetesRefusal(criThat(starting, [folder('stargz')]), roots);
    assert.equal(finding?.code, 'STORE_UNSUPPORTED');
    assert.match(finding.message, /expected .* 'overlayfs', found 'stargz'$/);
  });
});
