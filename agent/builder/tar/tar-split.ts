import { constants, createGzip, type Gzip } from 'node:zlib';
import { once } from 'node:events';
import type { Fragment } from './sparse.ts';
import type { Spool } from '../../streams/spool.ts';

/** Raw bytes are collected up to this size before they become a record. */
const MAX_SEGMENT_BYTES = 256 * 1024;
/**
 * Lines are collected up to this many characters before gzip gets them, because each write to it costs a switch of
 * threads.
 */
const MAX_LINES_LENGTH = 64 * 1024;

/**
 * Writes `tar-split.json.gz`, from which dockerd reassembles a layer's tar byte by byte (vbatts/tar-split,
 * tar/storage/entry.go): lines of JSON, of type 2 for raw bytes, and of type 1 for a file's content with its CRC-64.
 */
export class TarSplitWriter {
  /**
   * Compresses runs only, since tars are mostly zeros. How zlib's forks look for other repeats depends on the fork and
   * the processor, but the same image has to give the same bytes everywhere. Node 24 and Bun 1.4 were found to differ
   * at every level, but not with this strategy.
   */
  readonly #gzip: Gzip = createGzip({ level: 6, strategy: constants.Z_RLE });
  #fault: unknown;
  readonly #ended: Promise<unknown>;
  readonly #raw = Buffer.alloc(MAX_SEGMENT_BYTES);
  #rawBytes = 0;
  #lines = '';
  #position = 0;
  #full = false;

  /** @param spool gets the file's bytes */
  constructor(spool: Spool) {
    this.#gzip.on('data', (chunk: Buffer) => {
      try {
        spool.append(chunk);
      } catch (error) {
        this.#fault ??= error;
        this.#gzip.destroy(error as Error);
      }
    });
    this.#ended = once(this.#gzip, 'end');
    this.#ended.catch(() => undefined);
  }

  /** Bytes of the tar that no file of the layer holds. */
  raw(bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      const count = bytes.copy(this.#raw, this.#rawBytes, done);
      this.#rawBytes += count;
      done += count;
      if (this.#rawBytes === MAX_SEGMENT_BYTES) this.#flush();
    }
  }

  /**
   * A file whose content belongs here.
   * @param path below the layer's root, as latin1
   * @param fragments which parts of it, if not all: a field that dockerd ignores
   */
  file(path: string, size: number, crc: Buffer, fragments?: readonly Fragment[]): void {
    this.#flush();
    const bytes = Buffer.from(path, 'latin1');
    const text = bytes.toString('utf8');
    const name = Buffer.from(text, 'utf8').equals(bytes) ? { name: text } : { name_raw: bytes.toString('base64') };
    const pieces =
      fragments === undefined ? {} : { fragments: fragments.map(({ offset, length }) => [offset, length]) };
    this.#line({ type: 1, ...name, size, payload: crc.toString('base64'), ...pieces });
  }

  /** Waits if gzip is behind. */
  async drained(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    if (!this.#full) return;
    this.#full = false;
    await once(this.#gzip, 'drain');
  }

  /** Ends the file. After this, the spool has all of it. */
  async finish(): Promise<void> {
    this.#flush();
    if (this.#fault !== undefined) throw this.#fault;
    this.#gzip.end(this.#lines);
    await this.#ended;
  }

  #flush(): void {
    if (this.#rawBytes === 0) return;
    this.#line({ type: 2, payload: this.#raw.toString('base64', 0, this.#rawBytes) });
    this.#rawBytes = 0;
  }

  #line(record: Readonly<Record<string, unknown>>): void {
    this.#lines += `${JSON.stringify({ ...record, position: this.#position++ })}\n`;
    if (this.#lines.length < MAX_LINES_LENGTH) return;
    if (!this.#gzip.write(this.#lines)) this.#full = true;
    this.#lines = '';
  }
}
