import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { planDocument, statusDocument } from '../../agent/status/status-document.ts';
import { jsonSchemas } from '../../agent/status/json-schema.ts';
import { planSchema, statusSchema } from '../../agent/status/schema.ts';
import { aRun, finding, foundDisk, later } from './a-run.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** As much of JSON Schema as ours use. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** Every field with its type: `disks[].label: string`. */
function fieldsOf(schema: Schema, name = ''): string[] {
  const parts = schema.anyOf ?? [schema];
  const type = parts
    .flatMap((part) => part.type ?? [])
    .toSorted()
    .join(' or ');
  const inner = parts.flatMap((part) => [
    ...Object.entries(part.properties ?? {}).flatMap(([key, value]) =>
      fieldsOf(value, name === '' ? key : `${name}.${key}`),
    ),
    ...(part.items === undefined ? [] : fieldsOf(part.items, `${name}[]`)),
  ]);
  return [...(name === '' ? [] : [`${name}: ${type}`]), ...inner];
}

function schemaOf(name: string): Schema {
  return JSON.parse(jsonSchemas()[`${name}.schema.json`] ?? '') as Schema;
}

describe('/v1', () => {
  const frozen = readFileSync(path.join(import.meta.dirname, 'v1-fields.txt'), 'utf8')
    .trimEnd()
    .split('\n');
  const now = ['status', 'plan'].flatMap((name) => fieldsOf(schemaOf(name)).map((field) => `${name} ${field}`));

  it('only ever grows: every field that it had is there, with its type', () => {
    assert.deepEqual(
      frozen.filter((field) => !now.includes(field)),
      [],
      'a field is gone or has another type: clients rely on it',
    );
  });

  it('grows on record: what is added stands in v1-fields.txt from then on', () => {
    assert.deepEqual(
      now.filter((field) => !frozen.includes(field)),
      [],
      'add these lines to test/status/v1-fields.txt',
    );
  });

  it('is what the code sends, no field more and none less', (t) => {
    for (const run of [
      aRun(t),
      aRun(t, {
        applied: false,
        findings: [finding('DISK_DIRTY', 'why', { label: 'dpl-x', device: '/dev/vdx' })],
        candidates: [foundDisk('dpl-x', 'vdx')],
      }),
      aRun(t, {}, { user: [{ layers: ['mine'], references: ['app:1'] }] }),
      aRun(t, {
        disks: [],
        candidates: [],
        plan: undefined,
        applied: false,
        dataRoot: undefined,
        findings: [finding('CONFIG_INVALID')],
      }),
    ]) {
      for (const [document, schema, name] of [
        [statusDocument(run, later(run, 3)), statusSchema, 'status'],
        [planDocument(run), planSchema, 'plan'],
      ] as const) {
        const sent: unknown = JSON.parse(JSON.stringify(document));
        // Parsing leaves out what the schema has not, and fills in what has a default.
        assert.deepEqual(schema.parse(sent), sent);
        assert.deepEqual(missing(schemaOf(name), sent), []);
      }
    }
  });

  it('has its fields in its README', () => {
    const readme = readFileSync(path.join(root, 'agent/status/README.md'), 'utf8');
    const names = new Set(fieldsOf(schemaOf('status')).map((field) => /(\w+)(?:\[\])?: /.exec(field)?.[1] ?? ''));
    assert.deepEqual(
      [...names].filter(
        (name) => !new RegExp(`\`${name}\`|\`${name}\`'s`).test(readme) && !['agent', 'format'].includes(name),
      ),
      [],
    );
    for (const file of Object.keys(jsonSchemas()))
      assert.match(
        readFileSync(path.join(root, 'agent/packaging/deb/packaged-files.ts'), 'utf8'),
        new RegExp(`schemas/${file}'`),
      );
  });
});

/** Required fields that a document lacks. */
function missing(schema: Schema, value: unknown, name = ''): string[] {
  const parts = schema.anyOf ?? [schema];
  if (Array.isArray(value))
    return value.flatMap((item, index) =>
      parts.flatMap((part) => (part.items === undefined ? [] : missing(part.items, item, `${name}[${index}]`))),
    );
  if (typeof value !== 'object' || value === null) return [];
  const fields = value as Readonly<Record<string, unknown>>;
  return parts
    .filter((part) => part.properties !== undefined)
    .flatMap((part) => [
      ...(part.required ?? []).filter((key) => !(key in fields)).map((key) => `${name}.${key}`),
      ...Object.entries(part.properties ?? {}).flatMap(([key, inner]) => missing(inner, fields[key], `${name}.${key}`)),
    ]);
}
