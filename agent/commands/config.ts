import type { Config } from '../config/config.ts';
import { keys } from '../config/keys.ts';
import { configIn, readLayers } from '../config/read-config.ts';

interface Value {
  readonly value: unknown;
  /** What says so; null where that is the default. */
  readonly source: string | null;
}

/** Prints the configuration that holds, and what says each of its values. @throws PreloaderError CONFIG_INVALID */
export async function printConfig(options: { readonly config?: string; readonly json?: boolean }): Promise<void> {
  const layers = await readLayers(options.config);
  const config = configIn(layers);
  const values = Object.keys(keys).map((key): [string, Value] => {
    const source = layers.findLast(({ said }) => Object.hasOwn(said, key))?.source ?? null;
    return [key, { value: written(config, key as keyof Config), source }];
  });
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(Object.fromEntries(values))}\n`);
    return;
  }
  const lines = values.map(([key, { value, source }]) => [key, JSON.stringify(value), source ?? 'default'] as const);
  const [keyWidth, valueWidth] = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  for (const [key, value, source] of lines)
    process.stdout.write(`${key.padEnd(keyWidth ?? 0)}  ${value.padEnd(valueWidth ?? 0)}  ${source}\n`);
}

/** A value as it is written in a configuration file. Without one, other configurations decide. */
function written(config: Config, key: keyof Config): unknown {
  if (key === 'required') return config.required.map(({ text }) => text);
  if (key === 'trustedKeys') return config.trustedKeys?.map((read) => `ssh-ed25519 ${read}`) ?? null;
  return config[key] ?? null;
}
