import type { Config } from '../config/config.ts';
import type { DockerApi } from '../docker/api/docker-api.ts';
import { monotonicMs } from '../system/clock.ts';
import type { FollowOptions, StoreWatch } from './follow-prunes.ts';
import { Heard } from './heard.ts';
import { isNothing, readPresent, type Present } from './present.ts';
import { PruneWatch } from './prune-watch.ts';
import { PresentAtStart } from './present-at-start.ts';
import { restorePruned } from './restore-pruned.ts';
import { unbroken } from './unbroken.ts';

/** What prunes take out of dockerd's own store comes back through dockerd. */
export function overlay2Prunes(
  config: Config,
  dataRoot: string,
): Pick<FollowOptions, 'watch' | 'isEmpty' | 'noteRest'> {
  const start = new PresentAtStart(dataRoot);
  return {
    // Nothing is added while this dockerd runs.
    isEmpty: (fromStart) => Promise.resolve(isNothing(fromStart ? start.read() : readPresent(dataRoot))),
    watch: (docker, fromStart) =>
      Promise.resolve(watchOverlay2(docker, { config, dataRoot, before: fromStart ? start.read() : undefined })),
    noteRest: () => start.note(),
  };
}

function watchOverlay2(
  docker: DockerApi,
  {
    config,
    dataRoot,
    before,
  }: { readonly config: Config; readonly dataRoot: string; readonly before: Present | undefined },
): StoreWatch {
  const heard = new Heard();
  const watch = new PruneWatch({
    read: () => readPresent(dataRoot),
    before,
    isPruning: () => docker.isPruning(),
    restore: (pruned) => unbroken(restorePruned(pruned, { config, dataRoot, docker, heard })),
    now: monotonicMs,
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
