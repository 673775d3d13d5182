import { readConfig } from '../boot/config.ts';
import { unlinkStore } from '../boot/unlink.ts';
import { findingEvent, logEvents } from '../status/events.ts';
import { plural } from '../system/plural.ts';

/** Takes everything of ours out of the store that nothing of the user's stands on. @returns the exit status */
export async function unlink(options: { readonly config?: string }): Promise<number> {
  const { steps, findings } = await unlinkStore(await readConfig(options.config));
  logEvents(findings.map(findingEvent));
  process.stdout.write(steps === 0 ? 'nothing to remove\n' : `removed what was preloaded: ${plural(steps, 'change')}\n`);
  return findings.length === 0 ? 0 : 3;
}
