/** PAX records by key. Values are latin1 strings of their bytes: paths and xattrs may hold anything. */
export type PaxRecords = ReadonlyMap<string, string>;

/**
 * Parses the body of a PAX header: records of `<length> <key>=<value>\n` (POSIX, pax). The two keys of GNU's sparse
 * format 0.0 that may repeat are joined to a map as in format 0.1. @throws Error
 */
export function parsePax(body: Buffer): PaxRecords {
  const records = new Map<string, string>();
  const map: string[] = [];
  for (let offset = 0; offset < body.length; ) {
    const space = body.indexOf(0x20, offset);
    const digits = space === -1 ? '' : body.toString('latin1', offset, space);
    const end = offset + Number(digits);
    if (!/^\d{1,9}$/.test(digits) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) throw new Error('a PAX record `length key=value` expected, found something else');
    const record = body.toString('latin1', space + 1, end - 1);
    const equals = record.indexOf('=');
    if (equals <= 0) throw new Error('a PAX record `length key=value` expected, found one without a key');
    const key = record.slice(0, equals);
    const value = record.slice(equals + 1);
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') map.push(value);
    else records.set(key, value);
    offset = end;
  }
  if (map.length > 0) records.set('GNU.sparse.map', map.join(','));
  return records;
}

/** A PAX time, seconds with a fraction, to the nanosecond. @throws Error */
export function parsePaxTime(text: string): { readonly sec: number; readonly nsec: number } {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw new Error(`mtime: seconds expected, found ${JSON.stringify(text)}`);
  const sec = Number(match[2]);
  const nsec = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] !== '-') return { sec, nsec };
  return nsec === 0 ? { sec: -sec, nsec } : { sec: -sec - 1, nsec: 1_000_000_000 - nsec };
}

/** A PAX number. @throws Error */
export function parsePaxNumber(text: string, what: string): number {
  if (!/^-?\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw new Error(`${what}: a number expected, found ${JSON.stringify(text)}`);
  return Number(text);
}
