import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { watchFolders } from '../../agent/system/watch-folders.ts';
import { pollFolders } from '../../agent/system/watch-or-poll-folders.ts';
import { scratch } from '../support/temp-tree.ts';

/** Whether it is told of within a moment. */
async function isTold(changed: Promise<void>): Promise<boolean> {
  return Promise.race([changed.then(() => true), delay(300).then(() => false)]);
}

describe('a watch of folders', () => {
  const cases: readonly {
    readonly of: string;
    readonly before?: readonly string[];
    readonly change: (root: string) => void;
    readonly told: boolean;
  }[] = [
    { of: 'nothing', change: () => undefined, told: false },
    {
      of: 'a file that is replaced',
      before: ['a/b'],
      change: (root) => {
        writeFileSync(path.join(root, 'new'), '');
        renameSync(path.join(root, 'new'), path.join(root, 'a/b/file'));
      },
      told: true,
    },
    {
      of: 'a folder that goes',
      before: ['a/b/c'],
      change: (root) => rmSync(path.join(root, 'a/b/c'), { recursive: true }),
      told: true,
    },
    {
      of: 'the folder itself',
      before: ['a/b'],
      change: (root) => rmSync(path.join(root, 'a'), { recursive: true }),
      told: true,
    },
    {
      of: 'the folder, when it comes',
      change: (root) => mkdirSync(path.join(root, 'a/b'), { recursive: true }),
      told: true,
    },
    { of: 'the folder above it, when that comes', change: (root) => mkdirSync(path.join(root, 'a')), told: true },
    { of: 'another name beside one that may come', change: (root) => mkdirSync(path.join(root, 'other')), told: false },
    {
      of: 'what lies deeper',
      before: ['a/b/c'],
      change: (root) => writeFileSync(path.join(root, 'a/b/c/file'), ''),
      told: false,
    },
  ];
  for (const { of, before = [], change, told } of cases) {
    it(`tells ${told ? 'of' : 'nothing of'} ${of}`, async (t) => {
      const root = scratch(t);
      for (const name of before) mkdirSync(path.join(root, name), { recursive: true });
      const watch = watchFolders([path.join(root, 'a/b')]);
      const poll = pollFolders([path.join(root, 'a/b')], 50);
      t.after(() => [watch, poll].forEach((one) => one.close()));
      // The times of files are those of the kernel's last tick.
      await delay(10);
      change(root);
      assert.equal(await isTold(watch.changed), told);
      // Whether a folder above it has come is of no interest.
      assert.equal(await isTold(poll.changed), told && of !== 'the folder above it, when that comes');
    });
  }

  it('holds nothing open once it has told, or was closed', async (t) => {
    const root = scratch(t);
    const count = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).includes('inotify');
        } catch {
          return false;
        }
      }).length;
    watchFolders([root]).close();
    const before = count();
    for (let round = 0; round < 50; round += 1) {
      const watch = watchFolders([root, path.join(root, 'missing')]);
      if (round % 2 === 0) writeFileSync(path.join(root, 'file'), String(round));
      else watch.close();
      if (round % 2 === 0) await watch.changed;
    }
    assert.ok(count() <= before, `${count()} of inotify expected to be ${before}`);
  });
});
