/** PAX records by key. Values are latin1 strings of their bytes: paths and xattrs may hold anything. */
export type PaxRecords = ReadonlyMap<string, string>;

/** The keys whose values are C strings (strconv.go, validPAXRecord). */
const STRINGS: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname']);
const SPARSE_PIECE = ['GNU.sparse.offset', 'GNU.sparse.numbytes'] as const;

/**
 * Parses the body of a PAX header as Go's archive/tar does (parsePAX): records of `<length> <key>=<value>\n`. The two
 * keys that repeat in GNU's sparse format 0.0 are joined into a map as in format 0.1.
 * @throws Error
 */
export function parsePax(body: Buffer): PaxRecords {
  const records = new Map<string, string>();
  const map: string[] = [];
  for (let offset = 0; offset < body.length;) {
    const space = body.indexOf(0x20, offset);
    const digits = space === -1 ? '' : body.toString('latin1', offset, Math.min(space, offset + 20));
    const end = offset + Number(digits);
    if (!/^\+?\d+$/.test(digits) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a)
      throw new Error('expected a PAX record `length key=value`, found something else');
    const record = body.toString('latin1', space + 1, end - 1);
    const equals = record.indexOf('=');
    if (equals <= 0) throw new Error('expected a PAX record `length key=value`, found one without a key');
    const key = record.slice(0, equals);
    const value = record.slice(equals + 1);
    if ((STRINGS.has(key) ? value : key).includes('\0'))
      throw new Error(
        `expected a PAX record without a NUL, found one in '${key.replaceAll('\0', '\\0').slice(0, 100)}'`,
      );
    if (key === SPARSE_PIECE[0] || key === SPARSE_PIECE[1]) {
      if (key !== SPARSE_PIECE[map.length % 2] || value.includes(','))
        throw new Error(`expected ${SPARSE_PIECE.join(' and ')} to alternate, found another order`);
      map.push(value);
    } else records.set(key, value);
    offset = end;
  }
  if (map.length > 0) records.set('GNU.sparse.map', map.join(','));
  for (const key of ['atime', 'ctime', 'mtime']) parsePaxTime(records.get(key) || '0', key);
  for (const key of ['uid', 'gid', 'size']) parsePaxInteger(records.get(key) || '0', key);
  return records;
}

/** Parses a PAX time: seconds with a fraction, to the nanosecond. @throws Error */
export function parsePaxTime(text: string, what = 'mtime'): { readonly sec: number; readonly nsec: number } {
  const match = /^([+-]?\d+)(?:\.(\d*))?$/.exec(text);
  if (match === null) throw new Error(`${what}: expected seconds, found ${JSON.stringify(text.slice(0, 100))}`);
  const sec = Number(parsePaxInteger(match[1] ?? '', what));
  const nsec = Number((match[2] ?? '').slice(0, 9).padEnd(9, '0'));
  if (!text.startsWith('-')) return { sec, nsec };
  return nsec === 0 ? { sec, nsec } : { sec: sec - 1, nsec: 1_000_000_000 - nsec };
}

/** Parses a PAX number that fits a JavaScript number. @throws Error */
export function parsePaxNumber(text: string, what: string): number {
  const value = parsePaxInteger(text, what);
  if (!Number.isSafeInteger(Number(value))) throw new Error(`${what}: expected a number below 2^53, found ${value}`);
  return Number(value);
}

/** Parses a PAX number as Go's strconv.ParseInt does: 64 bits, with or without a sign. @throws Error */
export function parsePaxInteger(text: string, what: string): bigint {
  // Go also takes numbers with more leading zeros, but no known writer makes them.
  if (!/^[+-]?\d{1,100}$/.test(text))
    throw new Error(`${what}: expected a number, found ${JSON.stringify(text.slice(0, 100))}`);
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  if (value !== BigInt.asIntN(64, value)) throw new Error(`${what}: expected a number of 64 bits, found ${text}`);
  return value;
}
