import { WAITED_FOR } from './direct.ts';
import { readConfig } from '../config/read-config.ts';
import { preload } from '../boot/preload.ts';
import { storeIn } from '../boot/image-store.ts';
import { statusDocument } from '../status/status-document.ts';
import { eventsOf, logEvents } from '../status/journal-entries.ts';
import { noDisk } from '../status/no-disk.ts';
import { hasBeenReady } from '../status/boot-times.ts';
import { lastStatus, publish } from '../status/publish.ts';
import { states } from '../status/state.ts';
import { endAfter, monotonicUsec } from '../system/clock.ts';
import { PreloaderError } from '../system/errors.ts';
import { isJournal } from '../system/journal.ts';
import { endWithReader } from '../system/stdout-reader.ts';

export interface ApplyOptions {
  readonly config?: string;
  /** Exit status 0 instead of 3 for a degraded result, so that docker.service's drop-in still starts Docker. */
  readonly degradedOk?: boolean;
  /** The only store to fill, of those that are to be filled. */
  readonly only?: 'overlay2' | 'containerd';
  /**
   * How many seconds after the wait for devices it gives up. docker.service has no time limit for its ExecStartPre=.
   */
  readonly timeout: number;
  readonly isWaitedFor?: boolean;
}

/**
 * Fills the store once, without a daemon.
 * @returns the exit status
 * @throws PreloaderError if the configuration is wrong or dockerd is running
 */
export async function applyOnce(options: ApplyOptions): Promise<number> {
  // Any call may hang. SIGALRM ends the process wherever it is, which does not harm the store.
  endAfter(options.timeout);
  const config = await readConfig(options.config);
  endAfter(options.timeout + config.deviceTimeoutSec);
  if (config.sources.length > 0 && options.isWaitedFor !== true) return inProcessOfItsOwn(options);
  const settled = hasBeenReady(config);
  const result = await preload(config, { wait: !settled, change: 'stopped', only: options.only });
  if (result.isDockerRunning && options.only !== 'containerd' && (result.plan?.steps.length ?? 0) > 0) {
    throw new PreloaderError(
      'DOCKER_RUNNING',
      `dockerd is running on ${result.dataRoot ?? ''}: stop it first, or run: systemctl restart docker`,
    );
  }
  result.timings.begin('ready');
  const status = statusDocument(result, monotonicUsec());
  const before = isJournal() ? lastStatus(config) : undefined;
  publish(config, status, 'apply');
  // If there is a daemon, it syncs after Docker may start.
  if (!settled && result.dataRoot !== undefined && result.plan !== undefined) await storeIn(result.dataRoot).sync();
  const events = eventsOf(status, before);
  if (isJournal()) logEvents(events);
  else {
    endWithReader();
    // The last entry is the summary, which is printed instead.
    logEvents(events.slice(0, -1));
    process.stdout.write(`${status.state === 'empty' ? `${noDisk(config)}\n` : ''}${status.summary}\n`);
  }
  return status.state === 'degraded' && options.degradedOk === true ? 0 : states[status.state].exitStatus;
}

/**
 * Does the same in a process that is waited for. Whatever waits for another machine to answer about a folder of its cannot be
 * ended by any signal (Linux, fs/fuse/dev.c, request_wait_answer; net/9p/client.c, p9_client_rpc), and docker.service would wait
 * for that for ever: who waits for the process can be ended.
 * @returns its exit status
 */
async function inProcessOfItsOwn({ config, degradedOk, only, timeout }: ApplyOptions): Promise<number> {
  const given = [
    ...(config === undefined ? [] : ['--config', config.startsWith('-') ? `./${config}` : config]),
    ...(degradedOk === true ? ['--degraded-ok'] : []),
    ...(only === undefined ? [] : ['--only', only]),
    '--timeout',
    String(timeout),
    WAITED_FOR,
  ];
  const { runOurselves } = await import('../system/run-ourselves.ts');
  return runOurselves(['apply', ...given]);
}
