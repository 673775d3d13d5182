import path from 'node:path';
import { cached } from '../support/cache.ts';
import { startDockerd } from '../support/dockerd.ts';
import { loadManyLayers } from '../support/images.ts';
import { makeLegacyDisk } from '../support/legacy-disk.ts';
import { tempTree } from '../support/temp-tree.ts';

/** A disk with one image of 12 layers, the size that times are given for; as a dockerd 20.10 left it. */
export async function twelveLayers(): Promise<string> {
  const folder = await cached('twelve-layers-1', async (made) => {
    const tree = await tempTree('dpl-made');
    const dataRoot = path.join(tree.path, 'data');
    const dockerd = await startDockerd({ version: '20.10', dataRoot });
    await loadManyLayers(dockerd, 'twelve:1', 12);
    await dockerd.stop();
    await makeLegacyDisk(dataRoot, path.join(made, 'disk.ext4'), { label: 'unlabelled', dropTopCommitted: true });
    await tree.remove();
  });
  return path.join(folder, 'disk.ext4');
}
