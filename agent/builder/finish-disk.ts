import { mkdirSync, rmSync } from 'node:fs';
import { requireTool, runTool } from '../system/run-tool.ts';
import { megabytes } from '../text/megabytes.ts';
import type { Progress } from '../text/progress.ts';
import type { Platform } from './archive/platform.ts';
import type { BuildOptions } from './disk-options.ts';
import { containerDisk } from './container-disk/container-disk.ts';
import { nameOf } from './container-disk/registry-name.ts';
import { writeTarFile } from './oci-archive.ts';
import { settleImage } from './settle-image.ts';
import type { ImageClients } from './source/image-clients.ts';
import type { Workplace } from './workplace.ts';

/** A file of the workplace that is the output, and where a registry has it now. */
interface FinishedDisk {
  readonly name: string;
  readonly pushed: string | undefined;
}

/** Makes sure before hours of work that the format can be had. @throws PreloaderError TOOL_MISSING */
export function requireTools({ format, compress, push }: Pick<BuildOptions, 'format' | 'compress' | 'push'>): void {
  if (push !== undefined) requireTool('skopeo');
  if (compress || !['raw', 'qcow2', 'containerdisk'].includes(format)) requireTool('qemu-img');
}

/**
 * Makes of the workplace's `disk` what was asked for, and pushes it.
 * @param clients undefined if nothing is pushed
 * @throws PreloaderError
 */
export async function finishDisk(
  disk: { readonly label: string; readonly manifestDigest: string; readonly platform: Platform },
  { output, format, compress, push }: Pick<BuildOptions, 'output' | 'format' | 'compress' | 'push'>,
  workplace: Workplace,
  clients: ImageClients | undefined,
  progress: Progress,
): Promise<FinishedDisk> {
  let name = 'disk';
  if (compress) {
    progress.step('compressing');
    await convert(workplace, name, 'compressed', ['-c', '-O', 'qcow2']);
    rmSync(workplace.path(name));
    name = 'compressed';
  }
  if (format === 'raw' || format === 'qcow2') return { name, pushed: undefined };
  if (format !== 'containerdisk') {
    progress.step(`converting to ${format}`);
    // A vmdk has its own name in it.
    const own = `converted/${/[\w+-][\w.+-]*\.\w+$/.exec(output ?? '')?.[0] ?? `disk.${format}`}`;
    mkdirSync(workplace.path('converted'));
    await convert(workplace, name, own, ['-O', format]);
    settleImage(workplace.path(own), format, disk.manifestDigest);
    return { name: own, pushed: undefined };
  }
  progress.step("writing the disk's image");
  const { members, digest, layerBytes } = await containerDisk(workplace.path(name), disk);
  await writeTarFile(workplace.path('image'), members);
  // skopeo unpacks the image once more.
  rmSync(workplace.path(name));
  if (push === undefined || clients === undefined) return { name: 'image', pushed: undefined };
  await clients.push('image', push, layerBytes, {
    onBegin: () => {
      // It is unpacked, and sent.
      progress.expect(2 * layerBytes);
      progress.step(`pushing ${megabytes(layerBytes)} to ${push}`);
    },
    onBytes: (bytes) => progress.read(bytes),
  });
  return { name: 'image', pushed: `docker://${nameOf(push)}@${digest}` };
}

async function convert(workplace: Workplace, from: string, to: string, options: readonly string[]): Promise<void> {
  const paths = [from, to].map((name) => asFile(workplace.path(name)));
  await runTool('qemu-img', ['convert', '-f', 'qcow2', ...options, ...paths]);
}

/**
 * qemu-img takes what begins as `name:` for a protocol (QEMU, block.c, path_has_protocol), also where that is a folder.
 */
function asFile(path: string): string {
  return path.startsWith('/') ? path : `./${path}`;
}
