import { hexOf, type ImageID } from '../ids.ts';

/** An image whose layers dockerd already has. */
export interface LayerlessImage {
  readonly id: ImageID;
  readonly config: Buffer;
  readonly layers: number;
  readonly parent: ImageID | undefined;
}

const BLOCK = 512;

/**
 * An archive for `docker load` that has only configurations, and gives no names. dockerd does not look for layers that
 * it already has (moby, image/tarexport/load.go, Load).
 */
export function imageArchive(images: readonly LayerlessImage[]): Buffer {
  const manifest = images.map(({ id, layers, parent }) => ({
    Config: `${hexOf(id)}.json`,
    RepoTags: [],
    Layers: Array.from({ length: layers }, (_, number) => `${number}.tar`),
    ...(parent === undefined ? {} : { Parent: parent }),
  }));
  const files = [
    ['manifest.json', Buffer.from(JSON.stringify(manifest))] as const,
    ...images.map(({ id, config }) => [`${hexOf(id)}.json`, config] as const),
  ];
  return Buffer.concat([
    ...files.flatMap(([name, content]) => [
      header(name, content.length),
      content,
      Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK),
    ]),
    Buffer.alloc(2 * BLOCK),
  ]);
}

/** The header of a regular file, as POSIX 1003.1-1990 has it. */
function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, digits: number): void =>
    void block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  block.write(name, 0, 100, 'latin1');
  octal(0o600, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(0, 136, 11);
  block.write('        0', 148, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block[154] = 0;
  return block;
}
