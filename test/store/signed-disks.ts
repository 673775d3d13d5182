import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import type { Site } from './site.ts';

/** A disk with the image `NAME:1`, in which /file has the name. @param args of `build`, such as `--sign KEY` */
export async function namedDisk(folder: string, name: string, ...args: readonly string[]): Promise<string> {
  const layers = [await busyboxRoot(), [{ name: 'file', content: `${name}\n` }]];
  const archive = await dockerArchive([{ tags: [`${name}:1`], layers }]);
  return makeDisk(path.join(folder, `${name}.ext4`), archive, '--label', name, ...args);
}

/** Checks that each command says why it leaves out the disks `theirs`, of another key, and `nobody`, of none. */
export async function expectLeftOut(site: Site, commands: readonly string[]): Promise<void> {
  for (const command of commands) {
    const { exitCode, all } = await site.agent(command);
    assert.equal(exitCode, 3, `${command}: ${all}`);
    for (const [name, why] of [
      ['theirs', 'that the key SHA256:\\S+ has signed'],
      ['nobody', 'without docker-preloader\\.json\\.sig'],
    ] as const) {
      assert.match(all, new RegExp(`disk ${site.labelOf(name)} .* is left out: .* ${why}`));
      assert.equal(isMounted(site, name), false, command);
    }
  }
}

function isMounted({ mountRoot, labelOf }: Pick<Site, 'mountRoot' | 'labelOf'>, name: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${mountRoot}/${labelOf(name)} `);
}
