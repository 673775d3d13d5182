import type { Config } from '../config/config.ts';
import { DockerApi, type ImageEvent } from '../docker/api/docker-api.ts';
import { dockerInstance } from '../docker/instance.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { releaseProgramSoon } from '../system/memory.ts';
import { realPathOf } from '../system/real-path.ts';

/** How soon a new dockerd is followed. */
const LOOK_MS = 1000;
/**
 * A dockerd that has closed our connections usually ends within this time. If it has not, it was only slow to answer,
 * and is followed again.
 */
const ENDING_USEC = 15_000_000;
/** How often dockerd may be unreachable before that is logged. */
const PATIENCE = 30;

/** Watches what prunes take of ours out of a store. */
export interface StoreWatch {
  /** Takes each event of dockerd, in its order. */
  take(event: ImageEvent): void;
  /** Resolves when everything that was pruned so far is back. */
  settled(): Promise<void>;
  /** Ends it, with what it holds. */
  close(): void;
}

export interface FollowOptions {
  readonly config: Config;
  readonly dataRoot: string;
  /** Begins to watch the store of a dockerd that has just been connected to. */
  readonly watch: (docker: DockerApi) => Promise<StoreWatch>;
  /** Whether nothing of ours is in the store. */
  readonly isEmpty: () => Promise<boolean>;
  /**
   * Where dockerd's API is, or the hosts if none of them is a unix socket; undefined if connecting now could start a
   * dockerd.
   */
  readonly socket: () => Promise<{ readonly path: string } | { readonly hosts: string } | undefined>;
}

/**
 * Follows each dockerd that runs on the data root, and brings back the preloaded images that its prunes remove. It
 * never connects while none runs, because docker.socket would start a dockerd that the user has stopped.
 */
export async function followPrunes(options: FollowOptions): Promise<never> {
  let left: { readonly instance: string; readonly untilUsec: number } | undefined;
  let failures = 0;
  for (;;) {
    const instance = dockerInstance(options.dataRoot);
    if (instance === undefined) failures = 0;
    if (instance !== undefined && (instance !== left?.instance || monotonicUsec() > left.untilUsec)) {
      try {
        const outcome = await follow(options, instance);
        if (outcome !== 'not yet')
          left = {
            instance,
            untilUsec: outcome === 'never' ? Number.POSITIVE_INFINITY : monotonicUsec() + ENDING_USEC,
          };
        failures = 0;
      } catch (error) {
        // Either it is starting and does not listen yet, or it never listens where we look.
        failures += 1;
        if (failures === PATIENCE) notFollowed(options.config, messageOf(error));
      }
    }
    await delay(failures < PATIENCE ? LOOK_MS : PATIENCE * LOOK_MS);
  }
}

type Outcome = 'not yet' | 'never' | 'ended';

function notFollowed({ removedImages }: Config, why: string): void {
  const what =
    removedImages === 'respect'
      ? 'counts as removed (`removedImages`: respect)'
      : 'comes back when Docker next starts, and not before';
  log('PRUNES_NOT_FOLLOWED', `what a prune takes ${what}: ${why}`);
}

/** @throws Error if it could not be reached at all */
async function follow({ config, dataRoot, watch, isEmpty, socket }: FollowOptions, instance: string): Promise<Outcome> {
  if (await isEmpty()) return 'never';
  const place = await socket();
  if (place !== undefined && 'hosts' in place) {
    notFollowed(
      config,
      `expected a unix socket of dockerd's, found ${place.hosts}; set \`dockerHost\` where there is one`,
    );
    return 'never';
  }
  if (place === undefined || dockerInstance(dataRoot) !== instance) return 'not yet';
  const docker = await DockerApi.connect(place.path);
  try {
    const root = await docker.dataRoot();
    if (root === undefined || realPathOf(root) !== realPathOf(dataRoot)) {
      notFollowed(
        config,
        `expected dockerd on ${dataRoot} at ${place.path}, found one on ${root ?? 'no data root'}; set \`dockerHost\``,
      );
      return 'never';
    }
    const early: ImageEvent[] = [];
    let take = (event: ImageEvent): void => void early.push(event);
    const { ended } = await docker.follow((event) => take(event));
    const watching = await watch(docker);
    try {
      take = (event) => watching.take(event);
      for (const event of early) take(event);
      void releaseProgramSoon();
      await ended;
      await watching.settled();
    } finally {
      watching.close();
    }
    return 'ended';
  } finally {
    docker.close();
  }
}
