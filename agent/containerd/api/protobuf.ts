import { WireReader, WireWriter } from './protobuf-wire.ts';

/**
 * Protocol Buffers by tables. A message is a table of its fields, and the same table encodes it, decodes it and gives
 * its TypeScript type. It can do what containerd's API needs of proto3: text, bytes, integers, flags, messages, lists,
 * and maps of text. Fields that are not in the table are skipped.
 */
interface Kind<Value> {
  /** The value of a field that is not there. */
  readonly absent: Value;
  readonly isAbsent: (value: Value) => boolean;
  readonly write: (writer: WireWriter, number: number, value: Value) => void;
  /** @param before the value so far, from what came before in the same message */
  readonly read: (reader: WireReader, wireType: number, before: Value) => Value;
}

interface Field<Value> {
  readonly number: number;
  readonly kind: Kind<Value>;
}

/** A decoded message with these fields. Each of them is there. */
export type Message<Table> = {
  readonly [Name in keyof Table]: Table[Name] extends { readonly kind: Kind<infer Value> } ? Value : never;
};

export function field<Value>(number: number, kind: Kind<Value>): Field<Value> {
  return { number, kind };
}

export const text: Kind<string> = {
  absent: '',
  isAbsent: (value) => value === '',
  write: (writer, number, value) => writer.bytes(number, Buffer.from(value)),
  read: (reader, wireType) => reader.bytes(wireType).toString('utf8'),
};

export const bytes: Kind<Buffer> = {
  absent: Buffer.alloc(0),
  isAbsent: (value) => value.length === 0,
  write: (writer, number, value) => writer.bytes(number, value),
  read: (reader, wireType) => reader.bytes(wireType),
};

/** int64, int32, uint64 and enumerations, as far as a number holds them exactly. */
export const integer: Kind<number> = {
  absent: 0,
  isAbsent: (value) => value === 0,
  write: (writer, number, value) => writer.integer(number, value),
  read: (reader, wireType) => reader.integer(wireType),
};

export const flag: Kind<boolean> = {
  absent: false,
  isAbsent: (value) => !value,
  write: (writer, number, value) => writer.integer(number, value ? 1 : 0),
  read: (reader, wireType) => reader.integer(wireType) !== 0,
};

export function message<const Table extends object>(table: Table): Kind<Message<Table> | undefined> {
  return {
    absent: undefined,
    isAbsent: (value) => value === undefined,
    write: (writer, number, value) => writer.bytes(number, encode(table, value ?? {})),
    read: (reader, wireType) => decode(table, reader.bytes(wireType)),
  };
}

export function list<Value>(kind: Kind<Value>): Kind<readonly NonNullable<Value>[]> {
  return {
    absent: [],
    isAbsent: (values) => values.length === 0,
    write: (writer, number, values) => {
      for (const value of values) kind.write(writer, number, value);
    },
    read: (reader, wireType, before) => {
      const value = kind.read(reader, wireType, kind.absent);
      if (value === undefined || value === null) return before;
      // It is not copied for each element, because that would take quadratic time for a list of thousands.
      const values = before.length === 0 ? [] : (before as NonNullable<Value>[]);
      values.push(value);
      return values;
    },
  };
}

/** The fields of an entry of a map: its key and its value. */
const KEY = 1;
const VALUE = 2;

/** map<string, string> */
export const texts: Kind<ReadonlyMap<string, string>> = {
  absent: new Map(),
  isAbsent: (values) => values.size === 0,
  write: (writer, number, values) => {
    for (const [key, value] of values) {
      const entry = new WireWriter();
      if (!text.isAbsent(key)) text.write(entry, KEY, key);
      if (!text.isAbsent(value)) text.write(entry, VALUE, value);
      writer.bytes(number, entry.finish());
    }
  },
  read: (reader, wireType, before) => {
    const entry = new WireReader(reader.bytes(wireType));
    let key = text.absent;
    let value = text.absent;
    while (!entry.isAtEnd()) {
      const tag = entry.tag();
      if (tag.number === KEY) key = text.read(entry, tag.wireType, key);
      else if (tag.number === VALUE) value = text.read(entry, tag.wireType, value);
      else entry.skip(tag.wireType);
    }
    return (before.size === 0 ? new Map<string, string>() : (before as Map<string, string>)).set(key, value);
  },
};

interface Fields {
  readonly list: readonly (readonly [name: string, field: Field<unknown>])[];
  readonly byNumber: ReadonlyMap<number, readonly [name: string, kind: Kind<unknown>]>;
  /** A message without any fields. */
  readonly absent: Readonly<Record<string, unknown>>;
}

const known = new WeakMap<object, Fields>();

/** What a table says. It is kept, because it is looked at thousands of times for a list. */
function fieldsOf(table: object): Fields {
  let fields = known.get(table);
  if (fields === undefined) {
    const entries = Object.entries(table as Readonly<Record<string, Field<unknown>>>);
    fields = {
      list: entries,
      byNumber: new Map(entries.map(([name, { number, kind }]) => [number, [name, kind]])),
      absent: Object.fromEntries(entries.map(([name, { kind }]) => [name, kind.absent])),
    };
    known.set(table, fields);
  }
  return fields;
}

/** Encodes a message. Fields that are left out or empty take no bytes. */
export function encode<Table extends object>(table: Table, value: Partial<Message<Table>>): Buffer {
  const writer = new WireWriter();
  for (const [name, { number, kind }] of fieldsOf(table).list) {
    const content = (value as Readonly<Record<string, unknown>>)[name];
    if (content !== undefined && !kind.isAbsent(content)) kind.write(writer, number, content);
  }
  return writer.finish();
}

/** Decodes a message. @throws Error if the bytes are no message */
export function decode<Table extends object>(table: Table, encoded: Buffer): Message<Table> {
  const { byNumber, absent } = fieldsOf(table);
  const value = { ...absent };
  const reader = new WireReader(encoded);
  while (!reader.isAtEnd()) {
    const { number, wireType } = reader.tag();
    const found = byNumber.get(number);
    if (found === undefined) {
      reader.skip(wireType);
      continue;
    }
    const [name, kind] = found;
    value[name] = kind.read(reader, wireType, value[name]);
  }
  return value as Message<Table>;
}
