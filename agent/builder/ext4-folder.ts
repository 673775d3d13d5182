import { BLOCK_BYTES } from './disk-file.ts';
import type { Tree } from './tree.ts';

const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;

/** A folder's blocks: entries one after the other, none across a block's end, the last of each filling it up. */
export function folderContent(tree: Tree, folder: number, parent: number): Buffer {
  const blocks: Buffer[] = [];
  let block = Buffer.alloc(BLOCK_BYTES);
  let offset = 0;
  let last = 0;
  const close = (): void => {
    block.writeUInt16LE(BLOCK_BYTES - last, last + 4);
    blocks.push(block);
  };
  /** @returns where the name belongs in the block */
  const add = (nameLength: number, ino: number, type: number): number => {
    const length = (8 + nameLength + 3) & ~3;
    if (offset + length > BLOCK_BYTES) {
      close();
      block = Buffer.alloc(BLOCK_BYTES);
      offset = 0;
    }
    block.writeUInt32LE(ino, offset);
    block.writeUInt16LE(length, offset + 4);
    block.writeUInt8(nameLength, offset + 6);
    block.writeUInt8(type, offset + 7);
    last = offset;
    offset += length;
    return last + 8;
  };
  block.write('.', add(1, tree.ino(folder), fileTypes.folder));
  block.write('..', add(2, parent, fileTypes.folder));
  for (const entry of tree.children(folder)) {
    const inode = tree.inodeOf(entry);
    const at = add(tree.nameLength(entry), tree.ino(inode), fileTypes[tree.kind(inode)]);
    tree.copyName(entry, block, at);
  }
  close();
  return Buffer.concat(blocks);
}
