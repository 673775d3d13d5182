import path from 'node:path';
import { makeDisk } from '../support/disk.ts';
import { type ArchiveImage, dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';

/** Disks that come and go in the stories, and archives of images that the user loads; all made by `build`. */
export interface StoryDisks {
  /** `app:1` and `app:latest`, `web:1`, `tool:1`, `api:1`, `gone:1` on one base, and `solo:1` on its own. */
  readonly first: string;
  /** A newer build: other `app:latest` and `web:1`, no `app:1`; of what the first had, the base and `tool:1`. */
  readonly newer: string;
  /** A newer build that has the first one's images, too. */
  readonly whole: string;
  /** Another `app:latest`, and another `tool:1`. */
  readonly other: string;
  /** The same as `other` with a priority of 5. */
  readonly prior: string;
  /** The layers of the image that the user pulls, in an image of its own, `repeat:1`, and with one more, `repeat:2`. */
  readonly repeat: string;
  /** Archives for `docker load`. */
  readonly archives: Readonly<Record<'gone' | 'solo' | 'mine' | 'moved' | 'pulled', Uint8Array>>;
}

const file = (name: string, content: string): LayerEntry => ({ name, content: `${content}\n` });

/** Makes the disks: some two seconds each. @param args of `build` besides */
export async function storyDisks(...args: readonly string[]): Promise<StoryDisks> {
  const tree = await tempTree('dpl-story');
  const base = await busyboxRoot();
  const on = (tags: readonly string[], ...files: readonly LayerEntry[]): ArchiveImage => ({
    tags,
    layers: [base, ...files.map((entry) => [entry])],
  });
  const alone = (tags: readonly string[], entry: LayerEntry): ArchiveImage => ({ tags, layers: [[...base, entry]] });
  const build = async (name: string, images: readonly ArchiveImage[], ...more: readonly string[]): Promise<string> =>
    makeDisk(path.join(tree.path, `${name}.ext4`), await dockerArchive(images), ...args, ...more);

  const gone = on(['gone:1'], file('gone', 'gone'));
  const solo = alone(['solo:1'], file('solo', 'solo'));
  const tool = on(['tool:1'], file('tool', 'tool of the disk'));
  const app1 = on(['app:1', 'app:latest'], file('app', 'app 1'), file('app-more', 'more'));
  const first = [app1, on(['web:1'], file('web', 'web 1')), tool, on(['api:1'], file('api', 'api')), gone, solo];
  const newer = [
    on(['app:2', 'app:latest'], file('app', 'app 2')),
    on(['web:1'], file('web', 'web 2')),
    tool,
    on(['api:1'], file('api', 'api 2')),
  ];
  const other = [on(['app:latest'], file('app', 'app of another')), on(['tool:1'], file('tool', 'tool of another'))];
  const pulled: ArchiveImage = {
    tags: ['pulled:1'],
    layers: [[...base, file('pulled', 'pulled')], [file('pulled-more', 'more')]],
  };
  const repeat = [
    { ...pulled, tags: ['repeat:1'], labels: { by: 'the disk' } },
    { ...pulled, tags: ['repeat:2'], layers: [...pulled.layers, [file('repeat', 'repeat')]] },
  ];
  return {
    first: await build('first', first),
    newer: await build('newer', newer),
    whole: await build('whole', [...newer, { ...app1, tags: ['app:1'] }, gone, solo]),
    other: await build('other', other),
    prior: await build('prior', other, '--priority', '5'),
    repeat: await build('repeat', repeat),
    archives: {
      gone: await dockerArchive([gone]),
      solo: await dockerArchive([solo]),
      mine: await dockerArchive([alone(['mine:1'], file('mine', 'mine'))]),
      moved: await dockerArchive([alone(['tool:1'], file('tool', "the user's tool"))]),
      pulled: await dockerArchive([pulled]),
    },
  };
}
