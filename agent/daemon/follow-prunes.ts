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
  /**
   * Begins to watch the store of a dockerd that has just been connected to.
   * @param fromStart whether all that it has done since its start comes as events
   */
  readonly watch: (docker: DockerApi, fromStart: boolean) => Promise<StoreWatch>;
  /** Whether nothing of ours is in the store, or was when that dockerd started. */
  readonly isEmpty: (fromStart: boolean) => Promise<boolean>;
  /**
   * Called while no dockerd runs, to note what is in the store. Without it, what a dockerd does before it is followed is
   * not asked after.
   */
  readonly noteRest?: () => void;
  /** Whether the store was filled by this process, so that no dockerd ran then. */
  readonly isFilled: boolean;
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
  // Of a dockerd that runs already, nobody knows what was there when it started.
  let isSeenFromStart = options.isFilled;
  for (;;) {
    const instance = dockerInstance(options.dataRoot);
    if (instance === undefined) {
      failures = 0;
      isSeenFromStart = true;
      options.noteRest?.();
    }
    if (instance !== undefined && (instance !== left?.instance || monotonicUsec() > left.untilUsec)) {
      if (left !== undefined && instance !== left.instance) isSeenFromStart = true;
      try {
        const outcome = await follow(options, instance, isSeenFromStart && options.noteRest !== undefined);
        if (outcome !== 'not yet') {
          left = {
            instance,
            untilUsec: outcome === 'never' ? Number.POSITIVE_INFINITY : monotonicUsec() + ENDING_USEC,
          };
          isSeenFromStart = false;
          // It is about to end, and the next one may be there before we look again.
          if (outcome === 'ended') options.noteRest?.();
        }
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
async function follow(
  { config, dataRoot, watch, isEmpty, socket }: FollowOptions,
  instance: string,
  fromStart: boolean,
): Promise<Outcome> {
  if (await isEmpty(fromStart)) return 'never';
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
    const { ended } = await docker.follow((event) => take(event), fromStart);
    const watching = await watch(docker, fromStart);
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
