import { readConfig } from '../config/read-config.ts';
import type { Config } from '../config/config.ts';
import { preload } from '../boot/preload.ts';
import { inPrivateMounts } from '../boot/private-mounts.ts';
import { unlinkStores } from '../boot/unlink-stores.ts';
import { statusDocument } from '../status/status-document.ts';
import { findingEvent, logEvents } from '../status/journal-entries.ts';
import { imagesOfStatus, lastStatus, publish } from '../status/publish.ts';
import { monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { plural } from '../text/plural.ts';

/**
 * Removes everything preloaded from the stores, except what the user's images and containers need.
 * @returns the exit status
 */
export async function unlink(options: { readonly config?: string }): Promise<number> {
  const config = await readConfig(options.config);
  const { steps, findings } = await unlinkStores(config);
  logEvents(findings.map(findingEvent));
  process.stdout.write(
    steps === 0 ? 'nothing to remove\n' : `removed what was preloaded: ${plural(steps, 'change')}\n`,
  );
  if (steps > 0 && lastStatus(config) !== undefined) await publishWhatIsLeft(config);
  return findings.length === 0 ? 0 : 3;
}

/** Publishes a new status. Without a daemon, the one that the last run has left would still call the images usable. */
async function publishWhatIsLeft(config: Config): Promise<void> {
  try {
    const last = lastStatus(config);
    const before = { disks: [], images: imagesOfStatus(last) };
    const run = await inPrivateMounts(config.mountRoot, () =>
      preload(config, { wait: false, change: 'never', quiet: true, before }),
    );
    // Nobody else sees what was mounted to look at the disks.
    const disks = run.disks.map(({ mounted, content }) => ({
      mounted: { ...mounted, isUnlinked: !mounted.adopted },
      content,
    }));
    const status = statusDocument({ ...run, disks }, monotonicUsec());
    // The times of this boot stay.
    publish(
      config,
      last === undefined ? status : { ...status, readyUsec: last.readyUsec, timings: last.timings },
      'apply',
    );
  } catch (error) {
    log('STATUS_NOT_WRITTEN', `the status files cannot be written anew, ignoring: ${messageOf(error)}`);
  }
}
