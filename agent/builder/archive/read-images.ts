import type { Archive } from './archive.ts';
import { DOCKER_MANIFEST, readDockerArchive } from './docker-archive.ts';
import { archiveError, noImages, withArchiveName } from './archive-error.ts';
import type { ArchiveContent } from './input-image.ts';
import { OCI_INDEX } from './oci-index.ts';
import { readOciLayout, registryManifests } from './oci-layout.ts';
import { describePlatform, type PlatformChoice } from './platform.ts';

/**
 * The images of an archive of any kind. An archive of docker 25 or later is a `docker save` archive and an OCI layout
 * at once. It is read as the former, which has all names, unless only the latter has the platform.
 */
export async function readImages(archive: Archive, choice: PlatformChoice): Promise<ArchiveContent> {
  return await withArchiveName(archive.name, async () => {
    const content = await readEither(archive, choice);
    if (content.images.length > 0) return content;
    if (content.leftOut.length === 0) throw archiveError(archive.name, 'expected at least one image, found none');
    throw archiveError(
      archive.name,
      `expected an image for ${describePlatform(choice.platform)}, ` +
        `found ${content.leftOut.join(', ')}: choose with --platform`,
    );
  });
}

async function readEither(archive: Archive, choice: PlatformChoice): Promise<ArchiveContent> {
  if (archive.has(DOCKER_MANIFEST)) {
    const content = await readDockerArchive(archive, choice, await registryManifests(archive));
    if (content.images.length > 0 || !archive.has(OCI_INDEX)) return content;
  }
  if (archive.has(OCI_INDEX)) return await readOciLayout(archive, choice);
  // `docker export` includes this file of the container.
  throw noImages(
    archive.name,
    archive.has('.dockerenv')
      ? "found a container's files: docker commit makes an image of a container, docker save an archive of that"
      : undefined,
  );
}
