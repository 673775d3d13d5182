import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** The parts of a section header of a 64-bit ELF file (elf(5)) that are needed here. */
interface Section {
  readonly name: string;
  /** Where in the file the header is. */
  readonly at: number;
  readonly address: number;
  readonly size: number;
}

const SECTION_NAMES_INDEX = 62;
const SIZE_IN_HEADER = 32;

/**
 * Makes an executable that Bun has compiled survive strip(1), objcopy(1) and patchelf(1). Packagers strip by default,
 * and the result was a bare Bun, which prints its own version.
 *
 * Bun has a section `.bun` with eight bytes. Compiling (bun 1.4.5, src/elf.zig) puts the program at the end of the last
 * segment, makes the header of `.bun` refer to that place, and writes its address into the eight bytes. These are then
 * in no section, and binutils copies only sections and writes zeros between them. So the section that ends where they
 * begin is extended to include them.
 * @param runtime the Bun that was compiled into `executable`, with `.bun` where it was
 * @throws an Error if the sections are not as described, because then this Bun does it in another way
 */
export function makeStrippable(runtime: string, executable: string): void {
  const pointer = sectionsOf(runtime).find(({ name }) => name === '.bun');
  const before = sectionsOf(executable).find(({ address, size }) => size > 0 && address + size === pointer?.address);
  if (pointer?.size !== 8 || before === undefined)
    throw new Error(
      `Expected \`.bun\` in ${runtime} to be 8 bytes right behind another section: see where this version of Bun keeps the program's address, and adapt ${import.meta.filename}`,
    );
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(before.size + pointer.size));
  withFile(executable, 'r+', (file) => writeSync(file, size, 0, size.length, before.at + SIZE_IN_HEADER));
}

function sectionsOf(path: string): readonly Section[] {
  return withFile(path, 'r', (file) => {
    const elf = bytesAt(file, 0, 64);
    const headers = { at: Number(elf.readBigUInt64LE(40)), length: elf.readUInt16LE(58), count: elf.readUInt16LE(60) };
    const all = Array.from({ length: headers.count }, (_, index) => {
      const at = headers.at + index * headers.length;
      const header = bytesAt(file, at, headers.length);
      const [address, offset, size] = [16, 24, SIZE_IN_HEADER].map((field) =>
        Number(header.readBigUInt64LE(field)),
      ) as [number, number, number];
      return { at, nameAt: header.readUInt32LE(0), address, offset, size };
    });
    const named = all[elf.readUInt16LE(SECTION_NAMES_INDEX)];
    const names = named === undefined ? '' : bytesAt(file, named.offset, named.size).toString('latin1');
    return all.map(({ nameAt, ...section }) => ({
      ...section,
      name: names.slice(nameAt, names.indexOf('\0', nameAt)),
    }));
  });
}

function bytesAt(file: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const read = readSync(file, bytes, 0, length, offset);
  if (read !== length) throw new Error(`Expected ${length} bytes at ${offset} of an ELF file, found ${read}`);
  return bytes;
}

function withFile<Result>(path: string, flags: string, work: (file: number) => Result): Result {
  const file = openSync(path, flags);
  try {
    return work(file);
  } finally {
    closeSync(file);
  }
}
