import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { Story } from './story.ts';
import { storyDisks } from './story-disks.ts';
import { type Attached, checkUserThings, everything, nothing } from './user-things.ts';

for (const version of ['28.5'] as const) {
  describe(`dockerd ${version}: what the user has made is still there`, () => {
    let story: Story;
    before(async () => {
      story = await Story.begin(version, await storyDisks());
    });
    after(cleanUpAll);
    it('after nothing at all', async () => {
      await story.reset();
      console.log(await story.boot());
      await checkUserThings(story.dockerd, story.things, everything);
    });
    it('after newer', async () => {
      await story.reset();
      await story.replace(story.disks.newer);
      console.log(await story.boot(3));
      await checkUserThings(story.dockerd, story.things, new Set(['base']));
    });
    it('after detach', async () => {
      await story.reset();
      await story.detach('main');
      console.log(await story.boot(3));
      await checkUserThings(story.dockerd, story.things, nothing);
      console.log(await story.dockerd.cli(['images']));
    });
  });
}
