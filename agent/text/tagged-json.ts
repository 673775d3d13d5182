/** Maps, sets and bytes in JSON: an object with one key, which no object of ours has. */
const MAP = '\u0000map';
const SET = '\u0000set';
const BYTES = '\u0000bytes';

/** JSON of a value that may have maps, sets and bytes in it, at any level. */
export function taggedJson(value: unknown): string {
  return JSON.stringify(value, function (this: unknown, key: string, given: unknown): unknown {
    // Bytes have turned themselves into something else by now.
    const own = (this as Readonly<Record<string, unknown>>)[key];
    if (own instanceof Map) return { [MAP]: [...own] };
    if (own instanceof Set) return { [SET]: [...own] };
    return own instanceof Uint8Array ? { [BYTES]: Buffer.from(own).toString('latin1') } : given;
  });
}

/** The value that was made into such JSON. @throws SyntaxError */
export function parseTagged(json: string): unknown {
  return untagged(JSON.parse(json));
}

function untagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(untagged);
  const entries = Object.entries(value);
  const [[tag, content] = []] = entries;
  if (tag === MAP)
    return new Map((content as [unknown, unknown][]).map(([key, one]) => [untagged(key), untagged(one)]));
  if (tag === SET) return new Set((content as unknown[]).map(untagged));
  if (tag === BYTES) return Buffer.from(String(content), 'latin1');
  return Object.fromEntries(entries.map(([key, one]) => [key, untagged(one)]));
}
