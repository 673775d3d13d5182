import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execaSync } from 'execa';

interface Descriptor {
  mediaType: string;
  digest: string;
  sizeBytes: number;
}

/** docker-preloader.json, as far as it is changed. */
interface Listed {
  images: { id: string; references: string[]; targets: { references: string[]; path: Descriptor[] }[] }[];
  blobs: { digest: string; sizeBytes: number }[];
  [key: string]: unknown;
}

/** A tree of a disk of format 1.1, before it becomes a filesystem. */
export class Tree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  at(...names: readonly string[]): string {
    return path.join(this.root, ...names);
  }

  /** The file of the image's manifest. */
  get manifest(): string {
    return this.at('manifests/sha256', (this.listed.images[0]?.targets[0]?.path.at(-1)?.digest ?? '').slice(7));
  }

  /** The files of the layers' bytes, the base first, as the manifest has them. */
  get blobs(): readonly string[] {
    return this.#layers().map(({ digest }) => this.at('blobs/sha256', digest.slice(7)));
  }

  #layers(): readonly { digest: string; size: number; mediaType: string }[] {
    return (
      JSON.parse(readFileSync(this.manifest, 'utf8')) as {
        layers: { digest: string; size: number; mediaType: string }[];
      }
    ).layers;
  }

  get listed(): Listed {
    return JSON.parse(readFileSync(this.at('docker-preloader.json'), 'utf8')) as Listed;
  }

  /** Changes docker-preloader.json. */
  list(change: (listed: Listed) => void): void {
    const { listed } = this;
    change(listed);
    writeFileSync(this.at('docker-preloader.json'), JSON.stringify(listed));
  }

  /** Puts other bytes in the place of the manifest, under their own digest. */
  replaceManifest(bytes: string | Buffer, mediaType?: string): void {
    const digest = createHash('sha256').update(bytes).digest('hex');
    const before = this.manifest;
    writeFileSync(this.at('manifests/sha256', digest), bytes);
    rmSync(before);
    this.list(({ images }) => {
      for (const target of images[0]?.targets ?? []) {
        const last = target.path.at(-1);
        if (last === undefined) continue;
        last.digest = `sha256:${digest}`;
        last.sizeBytes = Buffer.byteLength(bytes);
        last.mediaType = mediaType ?? last.mediaType;
      }
    });
  }

  /** The manifest with something else in it. */
  changeManifest(
    change: (manifest: { layers: { digest: string; size: number; mediaType: string }[]; config: object }) => void,
  ): void {
    const manifest = JSON.parse(readFileSync(this.manifest, 'utf8')) as Parameters<typeof change>[0];
    change(manifest);
    this.replaceManifest(JSON.stringify(manifest));
  }

  /** A layer's blob with another size, wherever that is said. */
  resizeBlob(index: number, sizeBytes: number): void {
    const file = this.blobs[index] ?? '';
    truncateSync(file, sizeBytes);
    const digest = `sha256:${path.basename(file)}`;
    this.changeManifest(({ layers }) => {
      for (const layer of layers) if (layer.digest === digest) layer.size = sizeBytes;
    });
    this.list(({ blobs }) => {
      for (const blob of blobs) if (blob.digest === digest) blob.sizeBytes = sizeBytes;
    });
  }
}

/** What is wrong with the part of a disk that is for containerd's store. */
export interface HostileTargets {
  readonly name: string;
  readonly spoil: (tree: Tree) => void;
  /** What is said, or nothing where it needs no word. */
  readonly says?: RegExp;
  /** `whole`: the image can be saved, `runs`: only run. */
  readonly image: 'whole' | 'runs';
}

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

const replaceBy = (file: string, make: () => unknown): void => {
  rmSync(file, { recursive: true, force: true });
  make();
};
const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const isMade = /its manifest for containerd is left out: /;
const lacks = /a layer's blob is left out: /;

export const hostileTargets: readonly HostileTargets[] = [
  {
    name: 'the manifest has other bytes',
    spoil: (tree) => writeFileSync(tree.manifest, readFileSync(tree.manifest).fill('x', 10, 12)),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the manifest is a symlink',
    spoil: ({ manifest }) => replaceBy(manifest, () => symlinkSync('/etc/shadow', manifest)),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the manifest is a fifo',
    spoil: ({ manifest }) => replaceBy(manifest, () => execaSync('mkfifo', [manifest])),
    says: isMade,
    image: 'runs',
  },
  {
    name: '`manifests` is a symlink',
    spoil: (tree) => replaceBy(tree.at('manifests'), () => symlinkSync('/etc', tree.at('manifests'))),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the manifest is of great depth',
    spoil: (tree) => tree.replaceManifest(deep(2_000_000)),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'eight manifests are of great depth',
    spoil: (tree) => {
      const path = Array.from({ length: 8 }, (_, number) => {
        const bytes = `${deep(2_000_000)}${' '.repeat(number)}`;
        const digest = createHash('sha256').update(bytes).digest('hex');
        writeFileSync(tree.at('manifests/sha256', digest), bytes);
        return { mediaType: OCI_MANIFEST, digest: `sha256:${digest}`, sizeBytes: bytes.length };
      });
      tree.list(({ images }) => {
        images[0]?.targets.unshift(...path.map((one) => ({ references: [], path: [one] })));
      });
    },
    says: isMade,
    image: 'whole',
  },
  {
    name: 'the manifest is null',
    spoil: (tree) => tree.replaceManifest('null'),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the manifest has 30,000 layers',
    spoil: (tree) =>
      tree.changeManifest((manifest) => {
        manifest.layers = Array.from(
          { length: 30_000 },
          () => manifest.layers[0] ?? { digest: '', size: 0, mediaType: '' },
        );
      }),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the manifest has layers of other sizes than can be',
    spoil: (tree) => tree.changeManifest(({ layers }) => layers.forEach((layer) => (layer.size = -1))),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'the media types have control characters',
    spoil: (tree) =>
      tree.changeManifest(({ layers }) =>
        layers.forEach((layer) => (layer.mediaType = 'application/\u001B[2J\n\u202E')),
      ),
    image: 'whole',
  },
  {
    name: 'the media type of the manifest is one of 1 MB',
    spoil: (tree) => tree.replaceManifest(readFileSync(tree.manifest), 'x'.repeat(1_000_000)),
    says: isMade,
    image: 'runs',
  },
  {
    name: 'an index lists itself',
    spoil: (tree) =>
      tree.list(({ images }) => {
        for (const target of images[0]?.targets ?? [])
          target.path = Array.from(
            { length: 1000 },
            () => target.path[0] ?? { mediaType: '', digest: '', sizeBytes: 0 },
          );
      }),
    says: isMade,
    image: 'runs',
  },
  {
    name: '100,000 targets',
    spoil: (tree) =>
      tree.list(({ images }) => {
        const [image] = images;
        const target = image?.targets[0];
        if (image === undefined || target === undefined) throw new Error('expected an image with a target');
        image.targets.push(...Array.from({ length: 100_000 }, () => ({ references: [], path: [] })));
      }),
    says: /docker-preloader\.json: expected JSON with at most 500000 values, found more/,
    image: 'runs',
  },
  {
    name: '30,000 targets',
    spoil: (tree) =>
      tree.list(({ images: [image] }) => {
        for (let number = 0; number < 30_000; number += 1) image?.targets.push({ references: [], path: [] });
      }),
    says: /expected at most 10000 manifests on a disk, found more; they are left out/,
    image: 'whole',
  },
  {
    name: 'targets with names that are no references, or of nobody',
    spoil: (tree) =>
      tree.list(({ images }) => {
        for (const target of images[0]?.targets ?? [])
          target.references = ['\u001B[31mapp:1', '__proto__', 'app-b:1', 'x'.repeat(100_000), ...target.references];
      }),
    image: 'whole',
  },
  {
    name: 'digests that are paths',
    spoil: (tree) =>
      tree.list(({ images, blobs }) => {
        for (const target of images[0]?.targets ?? [])
          for (const one of target.path) one.digest = 'sha256:../../../etc/passwd';
        for (const blob of blobs) blob.digest = '../../etc/shadow';
      }),
    says: /docker-preloader\.json: /,
    image: 'runs',
  },
  {
    name: 'a blob is a symlink',
    spoil: ({ blobs: [file = ''] }) => replaceBy(file, () => symlinkSync('/etc/shadow', file)),
    says: lacks,
    image: 'runs',
  },
  {
    name: 'a blob is a fifo',
    spoil: ({ blobs: [file = ''] }) => replaceBy(file, () => execaSync('mkfifo', [file])),
    says: lacks,
    image: 'runs',
  },
  {
    name: 'a blob is a folder',
    spoil: ({ blobs: [file = ''] }) => replaceBy(file, () => mkdirSync(file)),
    says: lacks,
    image: 'runs',
  },
  {
    name: '`blobs` is a symlink',
    spoil: (tree) => replaceBy(tree.at('blobs'), () => symlinkSync('/etc', tree.at('blobs'))),
    says: lacks,
    image: 'runs',
  },
  {
    name: 'a blob is shorter than the manifest says',
    spoil: ({ blobs: [file = ''] }) => truncateSync(file, 100),
    says: lacks,
    image: 'runs',
  },
  {
    name: 'all blobs are empty, and said to be',
    spoil: (tree) => {
      for (const index of tree.blobs.keys()) tree.resizeBlob(index, 0);
    },
    says: lacks,
    image: 'runs',
  },
  {
    name: 'a blob is of 10 GB of holes, and said to be',
    spoil: (tree) => tree.resizeBlob(1, 10 * 1024 ** 3),
    says: /a layer's blob is left out: \S+: expected at most \d+ bytes, as the disk has, found 10737418240/,
    image: 'runs',
  },
  {
    name: 'a blob has another size than the same of another disk',
    spoil: (tree) => tree.resizeBlob(0, 5000),
    says: /disk \S+-bad: a layer's blob is left out: \S+-bad\/blobs\S+: expected \d+ bytes, as in \S+-good\/blobs\S+, found 5000/,
    image: 'runs',
  },
  {
    name: '140,000 blobs are listed that are not there',
    spoil: (tree) =>
      tree.list(({ blobs }) => {
        for (let number = 0; number < 140_000; number += 1) {
          const digest = createHash('sha256').update(`${number}`).digest('hex');
          blobs.push({ digest: `sha256:${digest}`, sizeBytes: 1 });
        }
      }),
    image: 'whole',
  },
  {
    name: 'no blob is there',
    spoil: (tree) => {
      for (const name of readdirSync(tree.at('blobs/sha256'))) rmSync(tree.at('blobs/sha256', name));
    },
    says: lacks,
    image: 'runs',
  },
];
