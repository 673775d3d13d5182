import { defaultConfig, type Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { failureOf } from '../boot/fill-store.ts';
import { nothingFound, preload, type Preload } from '../boot/preload.ts';
import { Timings } from '../boot/timings.ts';
import type { Start } from '../daemon/start.ts';
import { hasBeenReady, withBootTimes } from '../status/boot-times.ts';
import { summarise } from '../status/summary.ts';
import { BEGUN_ANEW, environment } from '../system/environment.ts';
import { monotonicUsec } from '../system/clock.ts';
import { PreloaderError } from '../system/errors.ts';
import { hasWaitingClient, listenFd } from '../system/listen-fds.ts';
import { notify } from '../system/notify.ts';

/**
 * The daemon that the unit starts. It reports READY whatever it found: docker.service itself decides whether a failure
 * keeps Docker from starting (the strict drop-in). After a failure it stays up to report it. Otherwise a client on the
 * activated socket would start it over and over.
 */
export async function run(configPath: string | undefined): Promise<void> {
  // The mounts stay, so that Docker can go on.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

  const start = await begin(configPath);
  start.result.timings.begin('ready');
  const readyUsec = monotonicUsec();
  notify('READY=1', `STATUS=${summarise(start.result, readyUsec)}`);
  // The code that reports the result is loaded only after Docker may start.
  const { statusDocument } = await import('../status/status-document.ts');
  const { publish } = await import('../status/publish.ts');
  const { eventsOf, logEvents } = await import('../status/journal-entries.ts');
  const status = withBootTimes(start.config, statusDocument(start.result, readyUsec));
  const written = publish(start.config, status, 'run');
  logEvents(eventsOf(status));

  const { serve } = await import('../daemon/run-after-ready.ts');
  await serve(start, status, written);
}

async function begin(configPath: string | undefined): Promise<Start & { readonly result: Preload }> {
  let config: Config;
  try {
    config = await readConfig(configPath);
  } catch (error) {
    // If it was started by hand, this is wrong usage. As a service it goes on, because somebody may ask for the reason.
    if (!(error instanceof PreloaderError) || environment()['NOTIFY_SOCKET'] === undefined) throw error;
    return { config: defaultConfig(), isConfigured: false, isFirst: true, isByClient: false, result: failure(error) };
  }
  const isFirst = !hasBeenReady(config);
  const fd = listenFd();
  const isAnew = environment()[BEGUN_ANEW] !== undefined;
  const hasClient = !isAnew && fd !== undefined && hasWaitingClient(fd);
  const change = !isAnew && (await mayChange(isFirst, hasClient)) ? 'stopped' : 'never';
  // After a crash, the service manager restarts it, although a client may also be waiting. A client starts it only if
  // it has ended by itself.
  const isByClient = hasClient && (isFirst ? change === 'never' : config.idleExitSec > 0);
  const before = isFirst ? {} : { before: { disks: [], images: await imagesBefore(config) } };
  return {
    config,
    configFile: configPath,
    isConfigured: true,
    isFirst,
    isByClient,
    // containerd starts after us; where it runs already, what has changed meanwhile is there at once.
    result: await preload(config, {
      wait: isFirst,
      change,
      changeContainerd: isByClient ? 'never' : 'farm',
      ...before,
    }),
  };
}

/** The images that dockerd had, according to the daemon before this one. */
async function imagesBefore(config: Config): Promise<ReadonlySet<string>> {
  const { imagesOfStatus, lastStatus } = await import('../status/publish.ts');
  return imagesOfStatus(lastStatus(config));
}

/**
 * Whether the store may be changed if dockerd does not run. A client on the activated socket may have started this
 * process, but must not cause changes, unless Docker is also waiting for us in the first run of a boot. In later runs
 * docker.service has to be stopped, so that it can only start after us. While it starts, its drop-in has already filled
 * the store, and dockerd may be reading it before it holds its lock.
 */
async function mayChange(isFirst: boolean, hasClient: boolean): Promise<boolean> {
  if (isFirst && !hasClient) return true;
  const { isDockerStarting, isDockerStopped } = await import('../daemon/docker-service.ts');
  return isFirst ? isDockerStarting() : !hasClient && (await isDockerStopped());
}

/** The result of a run that failed before it began. */
function failure(error: PreloaderError): Preload {
  const timings = new Timings();
  timings.begin('config');
  return { ...nothingFound(timings), findings: [failureOf(error)] };
}
