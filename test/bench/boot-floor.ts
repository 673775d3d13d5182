import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';

/** A mounted disk, as the agent left it. */
export interface FloorDisk {
  readonly device: string;
  readonly mountPoint: string;
}

/**
 * Writes the list of calls by which the C program makes the data root that the agent made, each in the agent's way: the
 * ledger first, with the names beside it, and last, when those are put in place, all durably; other files by a rename,
 * a layer's record in a folder beside.
 */
export function writeFloorList(dataRoot: string, disks: readonly FloorDisk[], list: string): void {
  const words: string[] = [];
  for (const { device, mountPoint } of disks)
    words.push('folder', mountPoint, '755', 'mount', device, mountPoint, 'ext4', 'noload,errors=continue');
  const layers = path.join(dataRoot, 'image/overlay2/layerdb/sha256');
  const temp = path.join(dataRoot, 'image/overlay2/layerdb/tmp');
  const names = path.join(dataRoot, 'image/overlay2/repositories.json');
  const ledger = path.join(dataRoot, 'docker-preloader/ledger.json');
  const prepared = path.join(path.dirname(ledger), path.basename(names));
  const modeOf = (file: string): string => (lstatSync(file).mode & 0o7777).toString(8);
  const ledgerWords = (): string[] => [ledger, `${ledger}.new`, modeOf(ledger), readFileSync(ledger, 'utf8')];
  const add = (file: string, as: string): void => {
    const stats = lstatSync(file);
    const name = path.basename(file);
    if (stats.isSymbolicLink()) words.push('link', readlinkSync(file), as);
    else if (stats.isFile() && name.endsWith('.gz')) words.push('copy', sourceOf(file, dataRoot, disks), as);
    else if (file === ledger)
      words.push('begin', ...ledgerWords(), prepared, modeOf(names), readFileSync(names, 'utf8'));
    else if (stats.isFile() && file !== names) {
      const inPlace = as.startsWith(`${temp}/`);
      words.push('file', as, inPlace ? as : `${as}.new`, modeOf(file), readFileSync(file, 'utf8'));
    } else if (stats.isDirectory()) {
      words.push('folder', as, modeOf(file));
      for (const child of readdirSync(file).toSorted()) {
        const from = path.join(file, child);
        if (file !== layers) add(from, path.join(as, child));
        else {
          words.push('folder', temp, '700');
          add(from, path.join(temp, child));
          words.push('rename', path.join(temp, child), path.join(layers, child));
        }
      }
    }
  };
  add(dataRoot, dataRoot);
  words.push('end', ...ledgerWords(), prepared, names);
  words.push('ready', '');
  writeFileSync(
    list,
    words
      .slice(0, -1)
      .map((word) => `${word}\0`)
      .join(''),
  );
}

function sourceOf(file: string, dataRoot: string, disks: readonly FloorDisk[]): string {
  const relative = path.relative(dataRoot, file);
  const found = disks.map((disk) => path.join(disk.mountPoint, relative)).find((candidate) => existsSync(candidate));
  if (found === undefined) throw new Error(`${relative}: expected on a disk, found on none`);
  return found;
}

/** Fails where the C program has not made the same data root as the agent. */
export async function checkFloor(agentRoot: string, floorRoot: string): Promise<void> {
  const { exitCode, stdout } = await execa('diff', ['--recursive', '--no-dereference', agentRoot, floorRoot], {
    reject: false,
  });
  if (exitCode !== 0) throw new Error(`the floor was to make what the agent makes, but: ${stdout.slice(0, 500)}`);
}
