import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import { decode, encode, type Message } from '../../agent/containerd/api/protobuf.ts';
import type { Method } from '../../agent/containerd/api/services.ts';
import { Protoc } from './protoc.ts';

/** For each method of a table what it takes and what it gives, with a value for each field. */
export type Samples<Methods extends Readonly<Record<string, Method<object, object>>>> = {
  readonly [Name in keyof Methods]: {
    readonly request: Message<Methods[Name]['request']>;
    readonly response: Message<Methods[Name]['response']>;
  };
};

/** Tests that hold each method of a table to the .proto files of its API. */
export function methodTests<Methods extends Readonly<Record<string, Method<object, object>>>>(
  api: Parameters<typeof Protoc.make>[0],
  methods: Methods,
  samples: Samples<Methods>,
): void {
  let protoc: Protoc;
  before(async () => {
    protoc = await Protoc.make(api);
  });

  for (const [name, method] of Object.entries(methods)) {
    const [called = ''] = /\w+\.\w+\.\w+\/\w+$/.exec(method.path) ?? [];
    it(`${called}: what it takes, and what it gives`, () =>
      checkMethod(protoc, called, method, samples[name as keyof Methods]));
  }
}

/**
 * Holds the tables of a method to its .proto file: protoc reads what they encode, and they read what it encodes.
 * @param called `images.v1.Images/List`
 */
async function checkMethod(
  protoc: Protoc,
  called: string,
  { request, response }: Method<object, object>,
  sample: { readonly request: object; readonly response: object },
): Promise<void> {
  const types = protoc.typesOf(called);
  for (const [table, type, value] of [
    [request, types.request, sample.request],
    [response, types.response, sample.response],
  ] as const) {
    assert.deepEqual(new Set(Object.keys(value)), new Set(Object.keys(table)), 'a sample for each field');
    const theirs = await protoc.encode(called, type, textOf(value));
    assert.deepEqual(decode<object>(table, theirs), value, `${type}: what protoc has encoded`);
    const ours = encode<object>(table, value);
    const read = await protoc.decode(called, type, ours);
    // What protoc does not know, or knows of another kind, it shows by its number.
    assert.doesNotMatch(read, /^\s*\d/m, type);
    assert.deepEqual(await protoc.encode(called, type, read), theirs, `${type}: what protoc has decoded`);
  }
}

/** protoc's text format of such a value. */
function textOf(value: object): string {
  return Object.entries(value)
    .flatMap(([name, content]) =>
      content === undefined
        ? []
        : [
            fieldText(
              name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
              content,
            ),
          ],
    )
    .join(' ');
}

function fieldText(name: string, content: unknown): string {
  if (Array.isArray(content)) return content.map((one) => fieldText(name, one)).join(' ');
  if (content instanceof Map)
    return [...content].map(([key, value]) => `${name} { key: ${quoted(key)} value: ${quoted(value)} }`).join(' ');
  if (Buffer.isBuffer(content) || typeof content === 'string') return `${name}: ${quoted(content)}`;
  if (typeof content === 'object' && content !== null) return `${name} { ${textOf(content)} }`;
  return `${name}: ${String(content)}`;
}

function quoted(content: unknown): string {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(String(content));
  return `"${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}"`;
}
