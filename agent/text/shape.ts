import { describeValue } from './parse-json.ts';
import { isSha256Digest } from './sha256-digest.ts';

/**
 * Checks a value. Throws an Error that names the key, what was expected and what was found.
 * @param key is asked only for an error, since a disk has thousands
 */
export type Shape = (value: unknown, key: () => string) => void;

/**
 * Checks the shape of manifests and ledgers, which this program writes itself, and of dockerd's configuration. They are
 * read at every boot, and may have more than is asked for here. What people write for us is read by the kinds of
 * `agent/config/`; what is read only after READY, or in other commands, goes through zod.
 * @param key of the value, where it is not a whole document
 * @throws Error as parseJson throws it
 */
export function checkShape(value: unknown, shape: Shape, key = ''): void {
  shape(value, () => key);
}

/** @throws Error that names the key, which may be empty, what was expected and what was found */
export function expected(key: string, what: string, value: unknown): never {
  throw new Error(`${key === '' ? '' : `\`${key}\`: `}expected ${what}, found ${describeValue(value)}`);
}

/** The key of an entry, from that of the whole. */
export function below(key: string, name: string | number): string {
  return key === '' ? String(name) : `${key}.${name}`;
}

export const text: Shape = (value, key) => {
  if (typeof value !== 'string') expected(key(), 'string', value);
};

export const flag: Shape = (value, key) => {
  if (typeof value !== 'boolean') expected(key(), 'boolean', value);
};

export const number: Shape = (value, key) => {
  if (typeof value !== 'number') expected(key(), 'number', value);
};

export const whole: Shape = (value, key) => {
  if (!Number.isSafeInteger(value)) expected(key(), typeof value === 'number' ? 'int' : 'number', value);
};

/** A text that matches a pattern, which `what` describes. */
export function matching(pattern: RegExp, what: string): Shape {
  return (value, key) => {
    if (typeof value !== 'string') expected(key(), 'string', value);
    if (!pattern.test(value)) expected(key(), what, value);
  };
}

/** As Docker writes it: `sha256:` and 64 hex digits. */
export const sha256Digest: Shape = (value, key) => {
  if (typeof value !== 'string') expected(key(), 'string', value);
  if (!isSha256Digest(value)) expected(key(), 'a sha256 digest', value);
};

/** May be left out. */
export function optional(shape: Shape): Shape {
  return (value, key) => {
    if (value !== undefined) shape(value, key);
  };
}

export function listOf(shape: Shape): Shape {
  return (value, key) => {
    if (!Array.isArray(value)) expected(key(), 'array', value);
    let index = 0;
    const here = (): string => below(key(), index);
    for (; index < value.length; index += 1) shape(value[index], here);
  };
}

/** An object with any names. */
export function recordOf(shape: Shape): Shape {
  return (value, key) => {
    if (!isObject(value)) expected(key(), 'record', value);
    let name = '';
    const here = (): string => below(key(), name);
    for (name of Object.keys(value)) shape(value[name], here);
  };
}

/** An object with these names. It may have more, from a newer minor version. */
export function objectOf(shapes: Readonly<Record<string, Shape>>): Shape {
  const names = Object.keys(shapes);
  return (value, key) => {
    if (!isObject(value)) expected(key(), 'object', value);
    let name = '';
    const here = (): string => below(key(), name);
    for (name of names) shapes[name]?.(value[name], here);
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
