import type { Archive } from './archive.ts';
import { DOCKER_MANIFEST, readDockerArchive } from './docker-archive.ts';
import { archiveError, naming } from './fail.ts';
import type { InputImage, Platform } from './input-image.ts';
import { OCI_INDEX, readOciLayout, registryManifests } from './oci-layout.ts';

/**
 * The images of an archive of any kind. One that is a `docker save` archive and an OCI layout at once, as those of
 * docker 25 and later, is read as the former, which has all names.
 */
export async function readImages(archive: Archive, platform: Platform): Promise<InputImage[]> {
  return await naming(archive.name, async () => {
    const images = archive.has(DOCKER_MANIFEST)
      ? await readDockerArchive(archive, await registryManifests(archive, platform))
      : archive.has(OCI_INDEX) ? await readOciLayout(archive, platform) : undefined;
    if (images === undefined) throw archiveError(archive.name, `the entry '${DOCKER_MANIFEST}' of docker save, or '${OCI_INDEX}' of an OCI layout, expected, found neither`);
    if (images.length === 0) throw archiveError(archive.name, 'at least one image expected, found none');
    return images;
  });
}
