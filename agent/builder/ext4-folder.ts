import { BLOCK_BYTES } from './disk-file.ts';
import { sortedChildren, type FolderNode } from './tree-node.ts';

const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;

/** A folder's blocks: entries one after the other, none across a block's end, the last of each filling it up. */
export function folderContent(node: FolderNode, parent: number): Buffer {
  const blocks: Buffer[] = [];
  let block = Buffer.alloc(BLOCK_BYTES);
  let offset = 0;
  let last = 0;
  const close = (): void => {
    block.writeUInt16LE(BLOCK_BYTES - last, last + 4);
    blocks.push(block);
  };
  const add = (name: Buffer, ino: number, type: number): void => {
    const length = (8 + name.length + 3) & ~3;
    if (name.length > 255) throw new Error(`names of at most 255 bytes expected, found one of ${name.length}`);
    if (offset + length > BLOCK_BYTES) {
      close();
      block = Buffer.alloc(BLOCK_BYTES);
      offset = 0;
    }
    block.writeUInt32LE(ino, offset);
    block.writeUInt16LE(length, offset + 4);
    block.writeUInt8(name.length, offset + 6);
    block.writeUInt8(type, offset + 7);
    name.copy(block, offset + 8);
    last = offset;
    offset += length;
  };
  add(Buffer.from('.'), node.ino, fileTypes.folder);
  add(Buffer.from('..'), parent, fileTypes.folder);
  for (const [name, child] of sortedChildren(node)) add(Buffer.from(name, 'latin1'), child.ino, fileTypes[child.kind]);
  close();
  return Buffer.concat(blocks);
}
