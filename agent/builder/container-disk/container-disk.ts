import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { sha256 } from '../../docker/ids.ts';
import type { Descriptor } from '../../docker/image-manifest.ts';
import { digestOf } from '../../streams/digest-of.ts';
import { VERSION } from '../../version.ts';
import type { Platform } from '../archive/platform.ts';
import { contentOf, ociArchive } from '../oci-archive.ts';
import { inMemory, tarBytes, writeTar, type TarContent, type TarMember } from '../tar/write-tar.ts';
import { DISK_DIGEST, DISK_LABEL, DISK_MANIFEST } from './labels.ts';

/**
 * KubeVirt runs QEMU as this user, who has to be able to read the disk (user-guide, disks_and_volumes.md,
 * containerDisk).
 */
const QEMU_USER = 107;

interface ContainerDisk {
  /** The files of an OCI archive. */
  readonly members: readonly TarMember[];
  /** Of the image's manifest, by which a registry has it. */
  readonly digest: string;
  readonly layerBytes: number;
}

/**
 * The image in which KubeVirt takes a disk: one layer with nothing but the disk in /disk. The layer is no larger than
 * the disk, and is not compressed: the disk itself may be. The same disk gives the same bytes.
 * @param path of the qcow2
 * @param disk.manifestDigest of its docker-preloader.json
 */
export async function containerDisk(
  path: string,
  disk: { readonly label: string; readonly manifestDigest: string; readonly platform: Platform },
): Promise<ContainerDisk> {
  const { size } = statSync(path);
  const content = contentOf(path, size);
  const hash = createHash('sha256');
  const digest = await digestOf(
    writeTar(
      layer(
        disk.label,
        heard(content, (piece) => hash.update(piece)),
      ),
    ),
  );
  const files = layer(disk.label, content);
  const layerContent: TarContent = { sizeBytes: tarBytes(files), pieces: () => writeTar(files) };
  const { os, architecture, variant } = disk.platform;
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      ...(variant === undefined ? {} : { variant }),
      os,
      config: {
        Labels: {
          [DISK_DIGEST]: `sha256:${hash.digest('hex')}`,
          [DISK_LABEL]: disk.label,
          [DISK_MANIFEST]: disk.manifestDigest,
        },
      },
      rootfs: { type: 'layers', diff_ids: [digest] },
      history: [{ created_by: `docker-preloader ${VERSION}` }],
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: layerContent.sizeBytes }],
    }),
  );
  const target: Descriptor = { mediaType: MANIFEST_TYPE, digest: sha256(manifest), sizeBytes: manifest.length };
  const blobs = new Map([
    [digest, layerContent],
    [sha256(config), inMemory(config)],
    [target.digest, inMemory(manifest)],
  ]);
  const members = ociArchive(blobs, [{ target, references: [] }]);
  return { members, digest: target.digest, layerBytes: layerContent.sizeBytes };
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

function layer(label: string, content: TarContent): TarMember[] {
  return [
    { name: 'disk/', mode: 0o555, owner: QEMU_USER, content: undefined },
    { name: `disk/${label}.qcow2`, mode: 0o444, owner: QEMU_USER, content },
  ];
}

/** The same content, of which each piece is told. */
function heard(content: TarContent, onPiece: (piece: Uint8Array) => void): TarContent {
  return {
    sizeBytes: content.sizeBytes,
    async *pieces() {
      for await (const piece of content.pieces()) {
        onPiece(piece);
        yield piece;
      }
    },
  };
}
