import { after, before, describe, it } from 'node:test';
import { torture } from '../support/size.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { happen } from './happenings.ts';
import { events } from './story-events.ts';
import { Story } from './story.ts';
import { storyDisks } from './story-disks.ts';

/**
 * Each event on a dockerd: on the newest all, on others those that depend on how dockerd stores things; all with
 * DPL_TORTURE=1.
 */
export function storiesOn(version: DockerdVersion): void {
  describe(`dockerd ${version}: all that the user has made is there, and works where its layers are attached`, () => {
    let story: Story;
    before(async () => {
      story = await Story.begin(version, await storyDisks());
    });
    after(cleanUpAll);

    for (const event of events.filter(({ everywhere }) => torture || version === '28.5' || everywhere === true)) {
      it(`after this: ${event.is}`, async () => {
        await happen(story, event);
        const boot = await story.boot(event.exit ?? 0);
        await story.checkThings(event.attached, event.except);
        await event.after?.(story);
        await event.also?.(story, boot);
      });
    }
  });
}
