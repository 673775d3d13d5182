import { keys } from '../../config/keys.ts';
import type { KindSchema } from '../../config/kind.ts';

interface ConfigSchema {
  readonly $schema: string;
  readonly type: 'object';
  /** In the order of the keys. */
  readonly properties: Readonly<Record<string, KindSchema & { readonly default?: unknown }>>;
  readonly additionalProperties: false;
}

/** The JSON schema of a configuration file. The check knows more: what labels, paths and names look like. */
export function configSchema(): ConfigSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(keys).map(([key, { schema, otherwise }]) => [
        key,
        otherwise === undefined ? schema : { default: otherwise, ...schema },
      ]),
    ),
    additionalProperties: false,
  };
}
