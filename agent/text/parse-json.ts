import type { z } from 'zod/mini';
import type * as zod from 'zod/mini';
import { parseStrictly } from './strict-json.ts';

/**
 * Parses JSON text against a schema.
 * @throws Error that names the key, what was expected and what was found
 */
export function parseJson<Schema extends zod.ZodMiniType>(text: string, schema: Schema): z.infer<Schema> {
  const value = parseText(text);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Error(issue === undefined ? 'not valid' : describe(issue, value));
}

/** Parses JSON text, of which people may have written any. @throws Error */
export function parseText(text: string): unknown {
  try {
    return parseStrictly(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error('expected JSON with a few levels, found thousands of them nested in each other', { cause: error });
  }
}

function describe(issue: zod.core.$ZodIssue, value: unknown): string {
  const key = issue.path.map(String).join('.');
  const found = describeValue(
    issue.path.reduce<unknown>((inner, part) => (inner as Record<PropertyKey, unknown> | undefined)?.[part], value),
  );
  const prefix = key === '' ? '' : `\`${key}\`: `;
  if (issue.code === 'unrecognized_keys')
    return `${prefix}unknown key${issue.keys.length === 1 ? '' : 's'} ${issue.keys.map((name) => `\`${name}\``).join(', ')}`;
  if (issue.code === 'invalid_type') return `${prefix}expected ${issue.expected}, found ${found}`;
  if (issue.code === 'invalid_value')
    return `${prefix}expected ${issue.values.map((one) => JSON.stringify(one)).join(' or ')}, found ${found}`;
  if (issue.code === 'too_big')
    return `${prefix}expected at most ${issue.maximum}${unitOf(issue.origin)}, found ${found}`;
  if (issue.code === 'too_small') return `${prefix}expected at least ${issue.minimum}, found ${found}`;
  return `${prefix}expected ${issue.message}, found ${found}`;
}

function unitOf(origin: string): string {
  return origin === 'string' ? ' characters' : origin === 'array' ? ' entries' : '';
}

/** A short description of a value, for a message. */
export function describeValue(value: unknown): string {
  const text = textOf(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function textOf(value: unknown): string {
  // JSON has no word for what it makes of 1e999.
  if (typeof value === 'number') return String(value);
  try {
    return JSON.stringify(value) ?? 'nothing';
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return Array.isArray(value) ? '[[…' : '{…';
  }
}
