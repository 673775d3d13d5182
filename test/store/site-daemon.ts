import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Daemon, startDaemon as start } from '../support/daemon.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { until } from '../support/until.ts';
import type { Site } from './site.ts';

/** `docker-preloader run` on a site. */
export interface SiteDaemon extends Daemon {
  /** Resolves once it follows what happens on a dockerd. */
  follows(dockerd: Dockerd): Promise<void>;
}

/** Starts it as its unit does, and waits for READY. */
export async function startDaemon({ folder }: Site): Promise<SiteDaemon> {
  return {
    ...(await start(path.join(folder, 'config.json'), folder)),
    follows: async (dockerd) => {
      await until(
        'the agent follows dockerd',
        async () => Number(await dockerd.cli(['info', '--format', '{{.NEventsListener}}'])) > 0,
      );
      // It looks at the store once dockerd tells it of events.
      await delay(200);
    },
  };
}
