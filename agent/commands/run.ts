import { defaultConfig, readConfig, type Config } from '../boot/config.ts';
import { preload, type Preload } from '../boot/preload.ts';
import { Timings } from '../boot/timings.ts';
import { withBootTimes } from '../status/boot-times.ts';
import { statusDocument } from '../status/document.ts';
import { hasBeenReady, logSummary, publish } from '../status/publish.ts';
import { monotonicUsec } from '../system/clock.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { notify } from '../system/notify.ts';

/**
 * The daemon that the unit starts. It reports READY whatever it found: whether a failure keeps Docker from starting is
 * docker.service's own choice (the strict drop-in). After a failure it stays up and tells of it: a client on the
 * activated socket would otherwise start it over and over.
 */
export async function run(configPath: string | undefined): Promise<void> {
  // Mounts stay, and so does Docker.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

  const { config, result } = await start(configPath);
  result.timings.begin('ready');
  const status = withBootTimes(config, statusDocument(result, monotonicUsec()));
  notify('READY=1', `STATUS=${status.summary}`);
  publish(config, status);
  logSummary(status);

  const { serve } = await import('./run-after-ready.ts');
  await serve(config, result, status);
}

async function start(configPath: string | undefined): Promise<{ readonly config: Config; readonly result: Preload }> {
  let config: Config;
  try {
    config = await readConfig(configPath);
  } catch (error) {
    // By hand it is a wrong usage; as a service, somebody may ask for the reason.
    if (!(error instanceof PreloaderError) || process.env['NOTIFY_SOCKET'] === undefined) throw error;
    return { config: defaultConfig(), result: failure(error) };
  }
  // Once this boot's disks are in the store, changes wait for Docker's next start: a client on the activated socket,
  // which may have started this process, must not change the store.
  const again = hasBeenReady(config);
  return { config, result: await preload(config, { wait: !again, change: again ? 'never' : 'stopped' }) };
}

/** A run that ended before it began. */
function failure(error: PreloaderError): Preload {
  const timings = new Timings();
  timings.begin('config');
  return { dataRoot: undefined, disks: [], plan: undefined, applied: false, isDockerRunning: false, findings: [{ code: error.code, message: messageOf(error) }], timings };
}
