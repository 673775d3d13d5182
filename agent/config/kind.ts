import { below, expected } from '../text/shape.ts';

/** What may be said for a key, and what is made of it. */
export interface Kind<Value> {
  /** As JSON schemas (json-schema.org, 2020-12) say it, which know less. */
  readonly schema: KindSchema;
  /** @throws Error that names the key, what was expected and what was found */
  readonly read: (said: unknown, key: string) => Value;
}

export interface KindSchema {
  readonly type: 'string' | 'number' | 'array';
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: KindSchema;
}

/** A kind, with the value of a key that is left out. */
interface Key<Value> extends Kind<Value> {
  readonly otherwise: Value | undefined;
}

/** What is read with these keys. Those without a default may be missing. */
export type ReadWith<Keys extends Readonly<Record<string, Key<unknown>>>> = {
  readonly [Name in keyof Keys as undefined extends Keys[Name]['otherwise'] ? never : Name]: ValueOf<Keys[Name]>;
} & {
  readonly [Name in keyof Keys as undefined extends Keys[Name]['otherwise'] ? Name : never]?:
    | ValueOf<Keys[Name]>
    | undefined;
};

type ValueOf<Said extends Kind<unknown>> = ReturnType<Said['read']>;

export function withDefault<Value>(
  kind: Kind<Value>,
  otherwise: NoInfer<Value>,
): Kind<Value> & { readonly otherwise: Value } {
  return { ...kind, otherwise };
}

export function optional<Value>(kind: Kind<Value>): Kind<Value> & { readonly otherwise: undefined } {
  return { ...kind, otherwise: undefined };
}

export const text: Kind<string> = {
  schema: { type: 'string' },
  read: (said, key) => (typeof said === 'string' ? said : expected(key, 'string', said)),
};

export const number: Kind<number> = {
  schema: { type: 'number' },
  read: (said, key) => (typeof said === 'number' ? said : expected(key, 'number', said)),
};

/** A number from the least to the most. */
export function within(minimum: number, maximum: number): Kind<number> {
  return {
    schema: { ...number.schema, minimum, maximum },
    read(said, key) {
      const value = number.read(said, key);
      if (value > maximum) expected(key, `at most ${maximum}`, said);
      return value < minimum ? expected(key, `at least ${minimum}`, said) : value;
    },
  };
}

/** One of these texts. */
export function oneOf<const Value extends string>(...values: readonly Value[]): Kind<Value> {
  return {
    schema: { ...text.schema, enum: values },
    read: (said, key) =>
      values.find((value) => value === said) ??
      expected(key, values.map((value) => JSON.stringify(value)).join(' or '), said),
  };
}

export function listOf<Value>({ schema, read }: Kind<Value>): Kind<readonly Value[]> {
  return {
    schema: { type: 'array', items: schema },
    read: (said, key) =>
      Array.isArray(said)
        ? said.map((entry: unknown, index) => read(entry, below(key, index)))
        : expected(key, 'array', said),
  };
}

/**
 * A kind whose values something is made of.
 * @param what in words, what a value must be so that something can be made of it
 */
export function made<Said, Value>(
  { schema, read }: Kind<Said>,
  what: string,
  make: (value: Said) => Value | undefined,
): Kind<Value> {
  return { schema, read: (said, key) => make(read(said, key)) ?? expected(key, what, said) };
}

/**
 * A kind with only those values for which it holds.
 * @param what in words, what these are
 */
export function such<Value>(kind: Kind<Value>, what: string, holds: (value: Value) => boolean): Kind<Value> {
  return made(kind, what, (value) => (holds(value) ? value : undefined));
}
