import type { Config } from '../config/config.ts';
import type { DockerApi } from '../docker/api/docker-api.ts';
import { wallMs } from '../system/clock.ts';
import type { FollowOptions, StoreWatch } from './follow-prunes.ts';
import { Heard } from './heard.ts';
import { isNothing, readPresent } from './present.ts';
import { PruneWatch } from './prune-watch.ts';
import { restorePruned } from './restore-pruned.ts';

/** What prunes take out of dockerd's own store comes back through dockerd. */
export function overlay2Prunes(config: Config, dataRoot: string): Pick<FollowOptions, 'watch' | 'isEmpty'> {
  return {
    // Nothing is added while this dockerd runs.
    isEmpty: () => Promise.resolve(isNothing(readPresent(dataRoot))),
    watch: (docker) => Promise.resolve(watchOverlay2(docker, config, dataRoot)),
  };
}

function watchOverlay2(docker: DockerApi, config: Config, dataRoot: string): StoreWatch {
  const heard = new Heard();
  const watch = new PruneWatch({
    read: () => readPresent(dataRoot),
    isPruning: () => docker.isPruning(),
    restore: (pruned) => restorePruned(pruned, { config, dataRoot, docker, heard }),
    now: wallMs,
  });
  return {
    take: (event) => {
      heard.take(event);
      watch.take(event);
    },
    settled: () => watch.settled,
    close: () => undefined,
  };
}
