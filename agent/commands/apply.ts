import { readConfig } from '../config/read-config.ts';
import { preload } from '../boot/preload.ts';
import { syncStore } from '../overlay2/sync-store.ts';
import { statusDocument } from '../status/status-document.ts';
import { eventsOf, logEvents } from '../status/journal-entries.ts';
import { noDisk } from '../status/no-disk.ts';
import { hasBeenReady } from '../status/boot-times.ts';
import { lastStatus, publish } from '../status/publish.ts';
import { states } from '../status/state.ts';
import { monotonicUsec } from '../system/clock.ts';
import { PreloaderError } from '../system/errors.ts';
import { isJournal } from '../system/journal.ts';
import { systemCall } from '../system/libc.ts';
import { endWithReader } from '../system/stdout-reader.ts';

export interface ApplyOptions {
  readonly config?: string;
  /** Exit status 0 instead of 3 for a degraded result: docker.service's drop-in starts Docker then. */
  readonly degradedOk?: boolean;
  /** Seconds beyond the wait for devices, after which it gives up. docker.service has no time limit for its ExecStartPre=. */
  readonly timeout: number;
}

/**
 * Fills the store once, without a daemon. @returns the exit status
 * @throws PreloaderError where the configuration is wrong, or dockerd runs
 */
export async function applyOnce(options: ApplyOptions): Promise<number> {
  // Whatever hangs can hold up any call; SIGALRM ends the process wherever it is, which the store survives.
  systemCall('alarm', options.timeout);
  const config = await readConfig(options.config);
  systemCall('alarm', Math.ceil(options.timeout + config.deviceTimeoutSec));
  const settled = hasBeenReady(config);
  const result = await preload(config, { wait: !settled, change: 'stopped' });
  if (result.isDockerRunning && result.plan !== undefined && result.plan.steps.length > 0) {
    throw new PreloaderError(
      'DOCKER_RUNNING',
      `dockerd is running on ${result.dataRoot ?? ''}: stop it first, or run: systemctl restart docker`,
    );
  }
  result.timings.begin('ready');
  const status = statusDocument(result, monotonicUsec());
  const before = isJournal() ? lastStatus(config) : undefined;
  publish(config, status, 'apply');
  // With a daemon, that syncs after Docker may start.
  if (!settled && result.dataRoot !== undefined) await syncStore(result.dataRoot);
  const events = eventsOf(status, before);
  if (isJournal()) logEvents(events);
  else {
    endWithReader();
    // The summary is last.
    logEvents(events.slice(0, -1));
    process.stdout.write(`${status.state === 'empty' ? `${noDisk(config)}\n` : ''}${status.summary}\n`);
  }
  return status.state === 'degraded' && options.degradedOk === true ? 0 : states[status.state].exitStatus;
}
