import * as z from 'zod/mini';
import { parseJson } from '../system/parse.ts';
import { decompress } from './decompress.ts';
import { printable } from './layer-tree.ts';

const recordSchema = z.looseObject({
  type: z.int(),
  name: z.optional(z.string()),
  name_raw: z.optional(z.string()),
  size: z.optional(z.int()),
  payload: z.nullish(z.string()),
});

/**
 * The tar that a tar-split and the layer's files give (vbatts/tar-split, tar/asm/assemble.go), piece by piece.
 * @param pieces the content of a file below the layer's root, its name as latin1
 * @throws Error naming the file
 */
export async function* assemble(tarSplit: Iterable<Buffer>, pieces: (name: string) => Iterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const line of lines(decompress(eachOf(tarSplit), 'gzip'))) {
    const record = parseJson(line, recordSchema);
    if (record.type === 2) yield Buffer.from(record.payload ?? '', 'base64');
    else if (record.type === 1 && (record.size ?? 0) > 0) {
      const name = record.name_raw === undefined ? Buffer.from(record.name ?? '').toString('latin1') : Buffer.from(record.name_raw, 'base64').toString('latin1');
      let bytes = 0;
      for (const piece of pieces(name)) {
        bytes += piece.length;
        yield piece;
      }
      if (bytes !== record.size) throw new Error(`'${printable(name)}': ${record.size} bytes expected, found ${bytes}`);
    }
  }
}

async function* eachOf(source: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* source;
}

async function* lines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  for await (const chunk of source) {
    let piece = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE)) {
      yield Buffer.concat([...rest, piece.subarray(0, end)]).toString('utf8');
      rest = [];
      piece = piece.subarray(end + 1);
    }
    if (piece.length > 0) rest.push(Buffer.from(piece));
  }
  if (rest.length > 0) yield Buffer.concat(rest).toString('utf8');
}

const NEWLINE = 0x0a;
