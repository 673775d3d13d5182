import { containerdAddress } from '../boot/with-containerd.ts';
import type { Config } from '../config/config.ts';
import { Containerd } from '../containerd/api/containerd-api.ts';
import { isOwnImage } from '../containerd/own-labels.ts';
import type { DockerApi, ImageEvent } from '../docker/api/docker-api.ts';
import { MOBY } from '../docker/daemon-config.ts';
import type { ImageID } from '../docker/ids.ts';
import { delay, monotonicMs } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import type { FollowOptions, StoreWatch } from './follow-prunes.ts';
import { nothingThere, unionOf, type Present } from './present.ts';
import { PruneWatch } from './prune-watch.ts';

const CONNECT_MS = 2000;
/** How often dockerd is asked whether a prune is over. */
const POLL_MS = 100;

/**
 * Puts what prunes take out of Docker's namespace of containerd back there, from the disks.
 * @param fill fills the namespaces. The names that it gets do not count as removed
 */
export function namespacePrunes(
  place: { readonly config: Config; readonly dataRoot: string },
  fill: (pruned: ReadonlySet<string>) => Promise<void>,
): Pick<FollowOptions, 'watch' | 'isEmpty'> {
  return {
    // A disk may come while this dockerd runs.
    isEmpty: () => Promise.resolve(false),
    watch: (docker) => watchNamespace(docker, place, fill),
  };
}

async function watchNamespace(
  docker: DockerApi,
  { config, dataRoot }: { readonly config: Config; readonly dataRoot: string },
  fill: (pruned: ReadonlySet<string>) => Promise<void>,
): Promise<StoreWatch> {
  const address = (await containerdAddress(config, dataRoot)) ?? config.containerdAddress;
  const containerd = await Containerd.open(address, CONNECT_MS);
  let present = await readPresent(containerd);
  /** What dockerd has said when containerd told of a removal. */
  let answer: Promise<boolean | undefined> | undefined;
  let ending: Promise<void> | undefined;
  const isPruning = async (): Promise<boolean | undefined> => {
    const isUnderWay = await (answer ?? docker.isPruning());
    if (isUnderWay === true) ending ??= untilPruned().finally(() => (ending = undefined));
    return isUnderWay;
  };
  const watch = new PruneWatch({
    read: () => present,
    isPruning,
    restore: async (pruned) => {
      try {
        await fill(new Set(pruned.names.keys()));
        present = await readPresent(containerd);
        // What is not there may have been pruned again meanwhile, and dockerd was not asked about that yet.
        return unionOf(pruned, present);
      } catch (error) {
        log('NOT_RESTORED', `what a prune took comes back when containerd is filled next: ${messageOf(error)}`);
        return nothingThere;
      }
    },
    now: monotonicMs,
  });
  // Each event is taken with the namespace as it was after it.
  let taken: Promise<void> = Promise.resolve();
  const take = (event: ImageEvent): void => {
    taken = taken
      .then(async () => {
        present = await readPresent(containerd);
        watch.take(event);
      })
      .catch(() => undefined);
  };
  // dockerd does not report the end of a prune of images in containerd (moby, daemon/containerd/image_prune.go).
  const untilPruned = async (): Promise<void> => {
    do await delay(POLL_MS);
    while ((await docker.isPruning()) === true);
    take({ action: 'prune', id: '', timeMs: monotonicMs() });
  };
  /**
   * dockerd reports a removal only when containerd has collected what the image had, and the last one when a prune is
   * about to end. containerd reports it earlier. So dockerd is asked at once, and the namespace is read meanwhile.
   */
  const takeRemoval = (): void => {
    const asked = ending === undefined ? docker.isPruning() : undefined;
    taken = taken
      .then(async () => {
        present = await readPresent(containerd);
        answer = asked;
        watch.removed();
        // If the answer was not used by now, it is too old.
        answer = undefined;
      })
      .catch(() => undefined);
  };
  // dockerd reports nothing that comes from a disk while it runs, but containerd does.
  void containerd.followImages((namespace, topic) => {
    if (namespace !== MOBY) return;
    if (topic === '/images/delete') takeRemoval();
    else take({ action: 'load', id: '', timeMs: monotonicMs() });
  });
  return {
    take,
    settled: async () => {
      await taken;
      await watch.settled;
    },
    close: () => containerd.close(),
  };
}

/** What of ours is in Docker's namespace. @throws GrpcError */
async function readPresent(containerd: Containerd): Promise<Present> {
  const images = await containerd.namespace(MOBY).images();
  const names = new Map(
    images.flatMap((record) =>
      record.target !== undefined && isOwnImage(MOBY, record)
        ? [[record.name, record.target.digest as ImageID] as const]
        : [],
    ),
  );
  return { names, images: new Set(), taken: new Set() };
}
