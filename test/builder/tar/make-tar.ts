/** One entry of a tar that a test writes byte by byte. Names are latin1 strings of their bytes. */
export interface MadeEntry {
  readonly name: string;
  /** `0` where absent. */
  readonly type?: string;
  readonly content?: Uint8Array | string;
  readonly linkName?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeSec?: number;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  /** PAX records ahead of it, as latin1. */
  readonly pax?: Readonly<Record<string, string>>;
  /** GNU `L` and `K` headers ahead of it, for what is longer than 100 bytes; PAX records otherwise. */
  readonly gnu?: boolean;
  /** Changes its header block before that is summed. */
  readonly patch?: (header: Buffer) => void;
}

/** Writes a tar with two blocks of zeros at its end. */
export function makeTar(entries: readonly MadeEntry[], end: Buffer = Buffer.alloc(1024)): Buffer {
  return Buffer.concat([...entries.flatMap(entryBlocks), end]);
}

function entryBlocks(entry: MadeEntry): Buffer[] {
  const { name, linkName = '', uid = 0, gid = 0, gnu = false } = entry;
  const records: Record<string, string> = { ...entry.pax };
  const blocks: Buffer[] = [];
  for (const [type, key, text] of [
    ['L', 'path', name],
    ['K', 'linkpath', linkName],
  ] as const) {
    if (text.length <= 100) continue;
    if (gnu)
      blocks.push(
        header({ name: '././@LongLink', type }, text.length + 1, true),
        padded(Buffer.from(`${text}\0`, 'latin1')),
      );
    else records[key] = text;
  }
  if (!gnu && uid > 0o7777777) records['uid'] = String(uid);
  if (!gnu && gid > 0o7777777) records['gid'] = String(gid);
  if (Object.keys(records).length > 0) {
    const body = paxBody(Object.entries(records));
    blocks.push(header({ name: 'PaxHeaders/x', type: 'x' }, body.length, false), padded(body));
  }
  const content = Buffer.from(entry.content ?? '');
  return [...blocks, header(entry, content.length, gnu), padded(content)];
}

/** The content of a PAX header. */
export function paxBody(records: readonly (readonly [key: string, value: string])[]): Buffer {
  return Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(''), 'latin1');
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

function header(entry: MadeEntry, size: number, gnu: boolean): Buffer {
  const block = Buffer.alloc(512);
  const { type = '0', mode = type === '5' ? 0o755 : 0o644, mtimeSec = 1_577_934_245 } = entry;
  block.write(entry.name.slice(0, 100), 0, 'latin1');
  number(block, 100, 8, mode);
  number(block, 108, 8, entry.uid ?? 0, gnu);
  number(block, 116, 8, entry.gid ?? 0, gnu);
  number(block, 124, 12, size);
  number(block, 136, 12, mtimeSec, gnu);
  block.write(type, 156, 'latin1');
  block.write((entry.linkName ?? '').slice(0, 100), 157, 'latin1');
  block.write(gnu ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
  number(block, 329, 8, entry.deviceMajor ?? 0);
  number(block, 337, 8, entry.deviceMinor ?? 0);
  entry.patch?.(block);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Octal; base 256 for what does not fit, where that is allowed; 0 otherwise: a PAX record has the number then. */
function number(block: Buffer, offset: number, length: number, value: number, base256 = false): void {
  const fits = value >= 0 && value < 8 ** (length - 1);
  if (fits || !base256) {
    block.write((fits ? value : 0).toString(8).padStart(length - 1, '0'), offset, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let index = offset + length - 1; index >= offset; index -= 1, rest >>= 8n) block[index] = Number(rest & 0xffn);
  block[offset] = ((block[offset] ?? 0) & 0x7f) | 0x80 | (value < 0 ? 0x40 : 0);
}

function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc(-content.length & 511)]);
}
